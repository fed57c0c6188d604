"""The Frechet distance against closed forms and two peers."""

import numpy as np
import pytest
import torch
from torch_fidelity.metric_fid import fid_statistics_to_metric
from torchmetrics.image.fid import _compute_fid

from metrics.shared.frechet import FeatureSet, Moments, frechet_distance, frechet_jackknife, random_projection


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
    return frechet_distance(FeatureSet.of(one), FeatureSet.of(other))


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


@pytest.mark.parametrize(("n", "m", "width"), [(500, 400, 32), (60, 70, 128), (60, 900, 128), (200, 64, 64)])
def test_peers_agree(n, m, width):
    one, other = features(n, width, 0), features(m, width, 1)
    statistics = [
        (rows.double().mean(0), torch.from_numpy(np.cov(rows.double(), rowvar=False))) for rows in (one, other)
    ]
    theirs = _compute_fid(*statistics[0], *statistics[1]).item()
    fidelity = fid_statistics_to_metric(
        *({"mu": mean.numpy(), "sigma": covariance.numpy()} for mean, covariance in statistics), False
    )["frechet_inception_distance"]
    assert distance(one, other) == pytest.approx(theirs, rel=1e-6)
    assert distance(one, other) == pytest.approx(fidelity, rel=1e-6)
    assert distance(other, one) == pytest.approx(distance(one, other), rel=1e-9)


def test_jackknife_leaves_the_groups_out():
    """The updated moments give what the remaining rows give."""
    one, other = features(120, 10, 0), features(150, 10, 1)
    result, left_out = frechet_jackknife(one, other, num_groups=5, seed=3)
    assert result.value == pytest.approx(distance(one, other))
    from metrics.shared.bootstrap import group_labels

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


def test_projection_is_orthonormal_and_seeded():
    projection = random_projection(100, 16, 7)
    assert torch.allclose(projection.T @ projection, torch.eye(16).double(), atol=1e-12)
    assert torch.equal(projection, random_projection(100, 16, 7))
    assert not torch.allclose(projection, random_projection(100, 16, 8))
