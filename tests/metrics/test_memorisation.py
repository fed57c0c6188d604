"""Copies are found, new images are not called copies, and both shares are those of their definitions."""

import numpy as np
import pytest
import torch
from scipy.stats import mannwhitneyu
from sklearn.neighbors import NearestNeighbors

from metrics.memorisation import Config, Metric, nearest_training, share_nearer
from metrics.shared import neighbours
from metrics.shared.bootstrap import group_labels

RANDOM = {"detector": "random-vgg"}
AUTHENTIC, OF_TESTS, RATIO = (
    f"{name}_random-vgg" for name in ("authenticity", "authenticity_reference", "nearest_train_ratio")
)


def rows(num_rows: int, seed: int, width: int = 64) -> torch.Tensor:
    return torch.randn(num_rows, width, generator=torch.Generator().manual_seed(seed))


def scored(train: torch.Tensor, reference: torch.Tensor, generated: torch.Tensor, **settings) -> Metric:
    metric = Metric(Config(**RANDOM, **settings))
    metric.update(train_features=train, reference_features=reference, generated_features=generated)
    return metric


def test_nearest_training_images_are_those_of_a_peer():
    train, reference, generated = rows(80, 0), rows(30, 1), rows(40, 2)
    search = NearestNeighbors(n_neighbors=2).fit(train.double())
    tests, made, _ = nearest_training(train, reference, generated)
    for found, queries in ((tests, reference), (made, generated)):
        distance, index = search.kneighbors(queries.double(), n_neighbors=1)
        spacing = search.kneighbors(train.double()[index[:, 0]])[0][:, 1]
        assert np.array_equal(found.index, index[:, 0])
        assert np.sqrt(found.squared) == pytest.approx(distance[:, 0], rel=1e-9)
        assert np.sqrt(found.spacing) == pytest.approx(spacing, rel=1e-9)
        assert np.array_equal(found.authentic, distance[:, 0] > spacing)


def test_share_nearer_is_the_mann_whitney_statistic():
    generated, reference = rows(40, 0, 1)[:, 0].double().numpy() ** 2, rows(55, 1, 1)[:, 0].double().numpy() ** 2
    statistic = mannwhitneyu(generated, reference).statistic
    assert share_nearer(generated, reference, 0.0) == pytest.approx(1 - statistic / (40 * 55), rel=1e-12)
    tied = np.array([1.0, 1.0 + 1e-9, 2.0])
    assert share_nearer(tied, np.array([1.0, 3.0]), 1e-6) == pytest.approx((0.75 + 0.75 + 0.5) / 3)


def test_a_model_that_makes_new_images_is_like_the_test_images():
    train = rows(300, 0, 64)
    estimates = scored(train, rows(200, 1), rows(200, 2)).compute()
    assert estimates[RATIO].low < 0.5 < estimates[RATIO].high
    assert estimates[AUTHENTIC].low < estimates[OF_TESTS].value < estimates[AUTHENTIC].high


@pytest.mark.parametrize(("width", "mutual"), [(1, 2 / 3), (2, 0.6215)])
def test_authenticity_of_new_points_has_a_closed_form(width, mutual):
    """New points of the training distribution are authentic unless they and their neighbour are mutual neighbours."""
    generator = torch.Generator().manual_seed(0)
    found = []
    for _ in range(30):
        train, reference, generated = (torch.rand(400, width, generator=generator).double() for _ in range(3))
        tests, made, _ = nearest_training(train, reference, generated)
        found += [tests.authentic.mean(), made.authentic.mean()]
    edges = 0.004 * width  # few points have half of their surroundings outside
    assert np.mean(found) == pytest.approx(1 - mutual, abs=edges + 3 * np.std(found) / 60**0.5)


def test_a_model_that_copies_is_found_out():
    train, reference = rows(300, 0), rows(100, 1)
    exact = scored(train, reference, train[:150])
    estimates = exact.compute()
    assert (estimates[AUTHENTIC].value, estimates[RATIO].value) == (0.0, 1.0)
    assert estimates[AUTHENTIC].high == pytest.approx(1 - 0.025 ** (1 / 150)), "no certainty from 150 images"
    assert estimates[RATIO].low == pytest.approx(0.025 ** (1 / 100))
    assert np.array_equal(exact.per_sample()["nearest_train_index_random-vgg"], np.arange(150))
    half = torch.cat([train[:75] + 0.01 * rows(75, 3), rows(75, 2)])
    estimates = scored(train, reference, half).compute()
    assert estimates[RATIO].low > 0.6
    assert estimates[AUTHENTIC].high < estimates[OF_TESTS].value
    assert estimates[AUTHENTIC].value <= 0.5


def test_a_model_that_fits_badly_is_not_praised_for_copying_nothing():
    train = rows(300, 0)
    estimates = scored(train, rows(100, 1), 3 * rows(100, 2)).compute()
    assert estimates[AUTHENTIC].value > 0.95
    assert estimates[RATIO].high < 0.1


def test_which_set_is_which():
    """Generated and test images exchanged turn the ratio around, training and test images exchanged do more."""
    train, reference, generated = rows(100, 0), rows(60, 1), torch.cat([rows(30, 2), rows(100, 0)[:30]])
    ratio = scored(train, reference, generated).compute()[RATIO].value
    assert ratio > 0.7
    assert scored(train, generated, reference).compute()[RATIO].value == pytest.approx(1 - ratio)
    assert scored(reference, train, generated).compute()[RATIO].value < 0.6


def test_copies_within_the_training_set_have_no_room_between_them():
    """A generated copy of an image that is there twice is as near as the other copy: not authentic."""
    train = torch.cat([rows(30, 0, 64), rows(30, 0, 64)])
    _, made, tie = nearest_training(train, rows(20, 1), torch.cat([train[:10], rows(10, 2)]))
    assert made.spacing.max() <= tie
    assert np.array_equal(made.index[:10], np.arange(10))
    assert np.array_equal(made.authentic, [0.0] * 10 + [1.0] * 10)


def test_each_group_left_out_is_a_new_computation():
    train, reference, generated = rows(50, 0), rows(41, 1), rows(37, 2)
    left_out = scored(train, reference, generated, num_groups=5, seed=3).per_sample()[f"{RATIO}_leave_one_group_out"]
    labels = [group_labels(len(each), 5, (3, index)) for index, each in enumerate((reference, generated))]
    for group in range(5):
        tests, made, tie = nearest_training(train, reference[labels[0] != group], generated[labels[1] != group])
        assert left_out[group] == pytest.approx(share_nearer(made.squared, tests.squared, tie), rel=1e-12)


def test_ratio_interval_holds_the_expected_value():
    """Given the training set, as for a model that was trained on it; also far from one half."""
    train = rows(200, 0, 64)
    for scale in (1.0, 0.8):
        estimates = [
            scored(
                train, rows(60, 2 * seed + 1), scale * rows(60, 2 * seed + 2), seed=seed, num_resamples=100
            ).compute()[RATIO]
            for seed in range(60)
        ]
        truth = np.mean([each.value for each in estimates])
        assert sum(each.low <= truth <= each.high for each in estimates) >= 52  # 57 expected


@pytest.mark.parametrize("block", [1, 300, 10**9])
def test_blocks_change_nothing(block, monkeypatch):
    train = torch.cat([rows(40, 0), rows(40, 0)])
    sets = (train, torch.cat([train[:20], rows(20, 1)]), torch.cat([train[10:40], rows(20, 2)]))
    expected = scored(*sets).compute()
    monkeypatch.setattr(neighbours, "BLOCK_DISTANCES", block)
    for key, estimate in scored(*sets).compute().items():
        assert estimate.value == expected[key].value


def test_results_keep_the_pairs_to_look_at():
    train, reference, generated = rows(50, 0), rows(40, 1), rows(30, 2)
    metric = scored(train, reference, generated)
    estimates, arrays = metric.compute(), metric.per_sample()
    assert [estimates[key].n for key in (AUTHENTIC, OF_TESTS, RATIO)] == [30, 40, 30]
    assert arrays[AUTHENTIC].mean() == estimates[AUTHENTIC].value
    index = arrays["nearest_train_index_random-vgg"]
    distance = (generated - train[torch.from_numpy(index)]).norm(dim=1)
    assert arrays["nearest_train_distance_random-vgg"] == pytest.approx(distance.numpy(), rel=1e-5)
    further = arrays["nearest_train_distance_random-vgg"] > arrays["nearest_train_spacing_random-vgg"]
    assert np.array_equal(further, arrays[AUTHENTIC] == 1)
    assert metric.protocol()["num_train"] == 50


def test_batches_may_come_apart_and_be_empty():
    train, reference, generated = rows(50, 0), rows(40, 1), rows(30, 2)
    parts = Metric(Config(**RANDOM))
    parts.update(train_features=train, reference_features=reference[:0], generated_features=generated[:7])
    parts.update(train_features=train[:0], reference_features=reference, generated_features=generated[7:])
    assert parts.compute() == scored(train, reference, generated).compute()


def test_too_little_is_a_users_error():
    with pytest.raises(ValueError, match="needs at least 2 training images, got 1"):
        scored(rows(1, 0), rows(40, 1), rows(40, 2)).compute()
    with pytest.raises(ValueError, match="num_resamples must be at least 100"):
        Config(num_resamples=10)
