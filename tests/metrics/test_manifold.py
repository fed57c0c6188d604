"""Precision, recall, density and coverage against two peers, closed forms and a simulation of the intervals."""

import numpy as np
import pytest
import torch
from prdc.prdc import compute_prdc
from torch_fidelity.metric_prc import calculate_precision_recall_full

from metrics.manifold import Config, Metric, manifold_values
from metrics.shared import neighbours
from metrics.shared.bootstrap import group_labels
from metrics.shared.detecting import jackknife_estimate

NAMES = ("precision", "recall", "density", "coverage")
RANDOM = {"detector": "random-vgg"}


def rows(num_rows: int, seed: int, width: int = 64, scale: float = 1.0) -> torch.Tensor:
    return torch.randn(num_rows, width, generator=torch.Generator().manual_seed(seed)) * scale


def scored(reference: torch.Tensor, generated: torch.Tensor, **settings) -> Metric:
    metric = Metric(Config(**RANDOM, **settings))
    metric.update(reference_features=reference, generated_features=generated)
    return metric


def values(reference: torch.Tensor, generated: torch.Tensor, **settings) -> dict[str, float]:
    return {name: value[-1] for name, value in manifold_values(reference, generated, Config(**settings)).items()}


def looped(reference: np.ndarray, generated: np.ndarray, precision_k: int, density_k: int) -> dict[str, float]:
    """The definitions, from whole matrices of differences."""

    def distances(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        return np.linalg.norm(one[:, None] - other[None], axis=-1)

    def reach(points: np.ndarray, k: int) -> np.ndarray:
        among = distances(points, points)
        np.fill_diagonal(among, np.inf)
        return np.sort(among, axis=1)[:, k - 1]

    cross = distances(reference, generated)
    wide = cross <= reach(reference, density_k)[:, None]
    return {
        "precision": (cross <= reach(reference, precision_k)[:, None]).any(0).mean(),
        "recall": (cross <= reach(generated, precision_k)[None]).any(1).mean(),
        "density": wide.sum(0).mean() / density_k,
        "coverage": wide.any(1).mean(),
    }


@pytest.mark.parametrize("k", [1, 3, 5])
def test_equal_to_prdc(k, capsys):
    reference, generated = rows(120, 0, width=8), rows(90, 1, width=8, scale=0.8)
    theirs = compute_prdc(reference.double().numpy(), generated.double().numpy(), k)
    capsys.readouterr()
    assert values(reference, generated, precision_k=k, density_k=k) == pytest.approx(theirs, rel=1e-12)


def test_equal_to_torch_fidelity_whose_first_argument_is_generated():
    reference, generated = rows(120, 0, width=8), rows(90, 1, width=8, scale=0.8)
    precision, recall = calculate_precision_recall_full(generated.double(), reference.double(), neighborhood=3)
    found = values(reference, generated)
    assert (found["precision"], found["recall"]) == pytest.approx((precision, recall), rel=1e-6)
    assert abs(precision - recall) > 0.1, "a swap would show"


def test_which_set_is_generated():
    """A model that makes one of four kinds only, and one that makes twice as many kinds as there are."""
    centres = 20 * torch.eye(8, 64)
    four = torch.cat([rows(30, kind) + centres[kind] for kind in range(4)])
    one_kind = rows(60, 10) + centres[0]
    collapsed = scored(four, one_kind).compute()
    assert collapsed["precision_random-vgg"].value > 0.5
    assert collapsed["recall_random-vgg"].value <= 0.25
    assert collapsed["coverage_random-vgg"].value <= 0.25
    eight = torch.cat([rows(30, 20 + kind) + centres[kind] for kind in range(8)])
    sprawling = scored(four, eight).compute()
    assert sprawling["precision_random-vgg"].value <= 0.5
    assert sprawling["density_random-vgg"].value <= 0.7
    assert sprawling["recall_random-vgg"].value > 0.5
    assert sprawling["coverage_random-vgg"].value > 0.8


def test_copies_of_the_test_images_are_perfect():
    """A point that counted itself as its nearest neighbour would have an empty ball."""
    reference = rows(60, 0)
    found = values(reference, reference, precision_k=1, density_k=1)
    assert found["precision"] == found["recall"] == found["coverage"] == 1.0
    estimate = scored(reference, reference).compute()["precision_random-vgg"]
    assert (estimate.high, estimate.interval) == (1.0, "exact")
    assert estimate.low == pytest.approx(0.025 ** (1 / 60))


def test_a_far_outlier_spoils_precision_and_not_density():
    """Its ball holds everything."""
    reference = torch.cat([rows(100, 0, width=4), torch.full((1, 4), 100.0)])
    generated = rows(100, 1, width=4) + 20
    found = values(reference, generated)
    assert found["precision"] == 1.0
    assert found["density"] == pytest.approx(0.2)
    assert found["coverage"] < 0.02


def test_a_perfect_model_has_density_one_and_the_coverage_of_the_closed_form():
    number, k = 60, 5
    found = [values(rows(number, 2 * seed, width=8), rows(number, 2 * seed + 1, width=8)) for seed in range(100)]
    places = np.arange(1, k + 1)
    expected = {"density": 1.0, "coverage": 1 - np.prod((number - places) / (2 * number - places))}
    for name, truth in expected.items():
        each = np.array([value[name] for value in found])
        assert each.mean() == pytest.approx(truth, abs=3 * each.std() / 10), name


def test_each_group_left_out_is_a_new_computation():
    reference, generated = rows(53, 0, width=6), rows(47, 1, width=6, scale=0.9)
    found = manifold_values(reference, generated, Config(num_groups=5, seed=3))
    arrays = [each.double().numpy() for each in (reference, generated)]
    labels = [group_labels(len(each), 5, (3, index)) for index, each in enumerate(arrays)]
    for group in range(5):
        kept = [each[label != group] for each, label in zip(arrays, labels, strict=True)]
        for name, value in looped(*kept, 3, 5).items():
            assert found[name][group] == pytest.approx(value, rel=1e-12), (name, group)
    for name, value in looped(*arrays, 3, 5).items():
        assert found[name][-1] == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("block", [1, 400, 10**9])
def test_blocks_and_order_change_nothing(block, monkeypatch):
    """Ties included: every generated image is a copy of a test image, on the edge of many balls."""
    reference = rows(50, 0, width=30)
    generated = torch.cat([reference[:25], reference[:25]])
    expected = manifold_values(reference, generated, Config(num_groups=5))
    monkeypatch.setattr(neighbours, "BLOCK_DISTANCES", block)
    found = manifold_values(reference, generated, Config(num_groups=5))
    for name in NAMES:
        assert np.array_equal(found[name], expected[name]), name
        turned = manifold_values(reference.flip(0), generated.flip(0), Config(num_groups=5))
        assert turned[name][-1] == expected[name][-1]


def test_intervals_hold_the_expected_value_and_those_with_fixed_balls_do_not():
    number, draws = 100, 40
    covered, fixed = dict.fromkeys(NAMES, 0), dict.fromkeys(NAMES, 0)
    found = [
        manifold_values(rows(number, 2 * seed, 16), rows(number, 2 * seed + 1, 16, 1.2), Config(seed=seed))
        for seed in range(draws)
    ]
    for name in NAMES:
        truth = np.mean([value[name][-1] for value in found])
        for value in found:
            share = value[name][-1]
            estimate = jackknife_estimate(share, value[name][:-1], n=number, higher_is_better=True)
            covered[name] += estimate.low <= truth <= estimate.high
            fixed[name] += abs(share - truth) <= 1.96 * (max(share * (1 - share), 0) / number) ** 0.5
    assert min(covered.values()) >= 34  # 38 expected; below 34 has a probability of 0.014
    assert fixed["coverage"] < 36
    assert fixed["precision"] < 38


def test_results_have_their_counts_and_left_out_values():
    metric = scored(rows(80, 0), rows(50, 1))
    estimates, arrays, protocol = metric.compute(), metric.per_sample(), metric.protocol()
    assert tuple(estimates) == tuple(f"{name}_random-vgg" for name in NAMES)
    assert [estimate.n for estimate in estimates.values()] == [50, 80, 50, 80]
    assert all(estimate.higher_is_better for estimate in estimates.values())
    assert set(arrays) == {f"{key}_leave_one_group_out" for key in estimates}
    assert (protocol["precision_k"], protocol["density_k"], protocol["num_generated"]) == (3, 5, 50)


def test_batches_may_come_apart_and_be_empty():
    reference, generated = rows(40, 0), rows(50, 1)
    parts = Metric(Config(**RANDOM))
    parts.update(reference_features=reference[:0], generated_features=generated[:20])
    parts.update(reference_features=reference, generated_features=generated[20:])
    assert parts.compute() == scored(reference, generated).compute()


@pytest.mark.parametrize("settings", [{"precision_k": 0}, {"density_k": -1}])
def test_settings_are_checked(settings):
    with pytest.raises(ValueError, match="must be at least 1"):
        Config(**settings)


def test_more_neighbours_than_images_are_a_users_error():
    with pytest.raises(ValueError, match=r"below the number of test images with a group left out \(18\), got 3 and 18"):
        scored(rows(20, 0), rows(50, 1), density_k=18).compute()
    with pytest.raises(ValueError, match=r"below the number of generated images with a group left out \(18\)"):
        scored(rows(50, 0), rows(20, 1), precision_k=18).compute()
