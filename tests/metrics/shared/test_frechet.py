"""The Frechet distance against closed forms and two peers."""

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from scipy.stats import linregress
from torch_fidelity.metric_fid import fid_statistics_to_metric
from torchmetrics.image.fid import _compute_fid

from metrics.shared.bootstrap import group_labels
from metrics.shared.frechet import (
    BLOCK_ROWS,
    FeatureSet,
    Moments,
    _intercept,
    frechet_distance,
    frechet_infinity,
    frechet_jackknife,
    random_projection,
)


def features(num_rows: int, width: int, seed: int) -> torch.Tensor:
    """Rectified correlated rows, float32, as a network gives; every fifth feature is always 0."""
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(width, width, generator=generator) / width**0.5
    rows = (
        torch.randn(num_rows, width, generator=generator) @ mix + 0.2 * torch.randn(width, generator=generator)
    ).relu()
    rows[:, ::5] = 0
    return rows


def distance(one: torch.Tensor, other: torch.Tensor) -> float:
    return frechet_distance(FeatureSet(one), FeatureSet(other))


def test_moments_are_those_of_numpy_for_any_split():
    rows = features(700, 20, 0) + 100
    whole = Moments.of(rows)
    assert torch.allclose(whole.mean, rows.double().mean(0))
    assert np.allclose(whole.covariance, np.cov(rows.double().numpy(), rowvar=False), rtol=1e-12, atol=1e-14)
    first, rest = Moments.of(rows[:123]), Moments.of(rows[123:])
    for merged in (first.merged(rest), rest.merged(first)):
        assert merged.count == 700
        assert torch.allclose(merged.mean, whole.mean, rtol=1e-13)
        assert torch.allclose(merged.scatter, whole.scatter, rtol=1e-10, atol=1e-10)
    left = whole.without(first)
    assert left.count == 577
    assert torch.allclose(left.mean, rest.mean, rtol=1e-13)
    assert torch.allclose(left.scatter, rest.scatter, rtol=1e-10, atol=1e-10)


def test_a_shift_gives_its_squared_length():
    rows = torch.randn(500, 8, generator=torch.Generator().manual_seed(0)).double()
    shift = torch.arange(8).double()
    assert distance(rows, rows + shift) == pytest.approx(140, rel=1e-12)
    assert distance(rows, rows) == pytest.approx(0, abs=1e-12)


def test_scaling_gives_the_bures_distance():
    """Of x and s x, mean 0: Tr C (1 - s)^2."""
    rows = torch.randn(500, 8, generator=torch.Generator().manual_seed(1)).double()
    rows -= rows.mean(0)
    expected = 4 * Moments.of(rows).covariance.trace().item()
    assert distance(rows, 3 * rows) == pytest.approx(expected, rel=1e-12)


def test_diagonal_covariances_give_the_distance_of_deviations():
    corners = torch.tensor([[sign * (row == column) for column in range(4)] for row in range(4) for sign in (1.0, -1)])
    one, other = corners * torch.tensor([1.0, 2, 3, 4]), corners * torch.tensor([4.0, 1, 3, 0])
    per_unit = 2 / 7  # variance of a column of the corners
    assert distance(one, other) == pytest.approx(per_unit * (9 + 1 + 0 + 16), rel=1e-12)


@pytest.mark.filterwarnings("ignore:Matrix is singular")
@pytest.mark.parametrize(
    ("n", "m", "width"), [(500, 400, 32), (60, 70, 128), (60, 900, 128), (200, 64, 64), (700, 800, BLOCK_ROWS + 50)]
)
def test_peers_agree(n, m, width):
    one, other = features(n, width, 0), features(m, width, 1)
    statistics = [
        (rows.double().mean(0), torch.from_numpy(np.cov(rows.double(), rowvar=False))) for rows in (one, other)
    ]
    theirs = _compute_fid(*statistics[0], *statistics[1]).item()
    fidelity = fid_statistics_to_metric(
        *({"mu": mean.numpy(), "sigma": covariance.numpy()} for mean, covariance in statistics), False
    )["frechet_inception_distance"]
    root = sqrtm(statistics[0][1].numpy() @ statistics[1][1].numpy())  # as pytorch-fid has it
    means = (statistics[0][0] - statistics[1][0]).square().sum().item()
    plain = means + sum(covariance.trace().item() for _, covariance in statistics) - 2 * np.trace(root).real
    assert distance(one, other) == pytest.approx(theirs, rel=1e-6)
    assert distance(one, other) == pytest.approx(fidelity, rel=1e-6)
    assert distance(one, other) == pytest.approx(plain, rel=1e-6)
    assert distance(other, one) == pytest.approx(distance(one, other), rel=1e-9)


def test_jackknife_leaves_the_groups_out():
    """The updated moments give what the remaining rows give."""
    one, other = features(120, 10, 0), features(150, 10, 1)
    result, left_out = frechet_jackknife(one, other, num_groups=5, seed=3)
    assert result.value == pytest.approx(distance(one, other))
    labels = [torch.from_numpy(group_labels(n, 5, (3, index))) for index, n in enumerate((120, 150))]
    for group in range(5):
        kept = distance(one[labels[0] != group], other[labels[1] != group])
        assert left_out[group] == pytest.approx(kept, rel=1e-10)


def test_jackknife_is_the_same_with_fewer_samples_than_dimensions():
    one, other = features(40, 10, 0), features(45, 10, 1)
    padded = [torch.cat([rows, torch.zeros(len(rows), 90)], dim=1) for rows in (one, other)]
    narrow, wide = frechet_jackknife(one, other, 10, 0)[0], frechet_jackknife(*padded, 10, 0)[0]
    assert wide.value == pytest.approx(narrow.value, rel=1e-6)
    assert wide.unbiased == pytest.approx(narrow.unbiased, rel=1e-5)


def test_small_sets_need_no_covariance(monkeypatch):
    """Both sets no larger than the number of dimensions, the jackknife included."""
    one, other = features(40, 64, 0), features(64, 64, 1)
    expected = frechet_jackknife(*(rows.double() for rows in (one, other)), 10, 0)[0]
    monkeypatch.setattr(Moments, "of", None)
    assert frechet_jackknife(one, other, 10, 0)[0] == expected


def test_features_that_never_vary_beside_features_that_do():
    """No Cholesky factor exists then; the dead features add nothing."""
    one, other = (torch.randn(400, 24, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    dead = [torch.cat([rows, torch.full((400, 4), 3.0)], dim=1) for rows in (one, other)]
    assert distance(*dead) == pytest.approx(distance(one, other), rel=1e-9)


def gaussians(num_rows: int, width: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Two samples with diagonal covariances, and the distance of what they come from."""
    generator = torch.Generator().manual_seed(seed)
    scale = torch.linspace(0.5, 1.5, width).double()
    one, other = (torch.randn(num_rows, width, generator=generator, dtype=torch.float64) for _ in range(2))
    return one, other * scale + 0.1, float((scale - 1).square().sum() + width * 0.01)


def test_the_line_is_that_of_least_squares():
    inverse = 1 / np.linspace(0.25, 1, 15)
    distances = 2 + 0.5 * inverse + 0.1 * np.random.default_rng(0).standard_normal(15)
    theirs, ours = linregress(inverse, distances), _intercept(inverse, distances)
    assert ours.value == pytest.approx(theirs.intercept)
    assert ours.standard_error == pytest.approx(theirs.intercept_stderr)


def test_infinity_is_near_the_truth_where_the_distance_is_not():
    """And its interval holds the truth; that of the line alone, which knows of one set of samples only, does not."""
    covered, covered_by_line, found, plain = 0, 0, [], []
    for seed in range(40):
        one, other, truth = gaussians(96, 8, seed)
        infinity, (result, _) = frechet_infinity(one, other, seed), frechet_jackknife(one, other, 10, seed)
        covered += abs(infinity.value - truth) <= infinity.half_width(result)
        covered_by_line += abs(infinity.value - truth) <= 2.16 * infinity.standard_error
        found.append(infinity.value)
        plain.append(result.value)
    assert covered >= 34  # 38 expected; below 34 has a probability of 0.014
    assert covered_by_line < 34
    assert np.mean(found) == pytest.approx(truth, rel=0.1)
    assert np.mean(plain) > 1.4 * truth


def test_infinity_is_seeded_and_of_sets_of_any_size():
    one, other, _ = gaussians(300, 4, 0)
    torch.manual_seed(1)
    first = frechet_infinity(one, other[:90], 5)
    torch.manual_seed(2)
    np.random.seed(2)
    assert frechet_infinity(one, other[:90], 5) == first
    assert frechet_infinity(one, other[:90], 6) != first
    assert first.value < distance(one, other[:90])


def test_projection_is_orthonormal_and_seeded():
    projection = random_projection(100, 16, 7)
    assert torch.allclose(projection.T @ projection, torch.eye(16).double(), atol=1e-12)
    assert torch.equal(projection, random_projection(100, 16, 7))
    assert not torch.allclose(projection, random_projection(100, 16, 8))
