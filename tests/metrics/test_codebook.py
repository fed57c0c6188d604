"""Codebook usage and perplexity against SciPy, closed forms, and repeated draws."""

import numpy as np
import pytest
import torch
from scipy.stats import entropy

from metrics.codebook import Config, Metric

KEYS = ("codebook_usage", "codebook_perplexity", "codebook_position_perplexity")


def scored(codes, size: int, num_batches: int = 1, **settings) -> Metric:
    metric = Metric(Config(**settings))
    sizes = torch.tensor([size]).tensor_split(num_batches)
    for part, given in zip(torch.as_tensor(codes).long().tensor_split(num_batches), sizes, strict=True):
        metric.update(codes=part, codebook_size=given)
    return metric


def values(metric: Metric) -> list[float]:
    return [metric.compute()[key].value for key in KEYS]


def test_all_codes_alike_and_one_code_alone():
    everywhere = np.stack([np.arange(40) % 8, (np.arange(40) + 3) % 8], axis=1)
    assert values(scored(everywhere, 8)) == pytest.approx([1, 8, 8])
    assert values(scored(np.full((40, 5), 2), 8)) == pytest.approx([1 / 8, 1, 1])


def test_a_code_that_says_where_it_is_has_no_perplexity_at_its_position():
    assert values(scored(np.tile(np.arange(6), (30, 1)), 12)) == pytest.approx([0.5, 6, 1])


def test_scipy_agrees():
    rng = np.random.default_rng(0)
    codes = rng.choice(50, size=(60, 7), p=rng.dirichlet(np.full(50, 0.3)))
    usage, everywhere, position = values(scored(codes, 50))
    assert usage == len(np.unique(codes)) / 50
    assert everywhere == pytest.approx(np.exp(entropy(np.bincount(codes.ravel()))))
    assert position == pytest.approx(np.mean([np.exp(entropy(np.bincount(column))) for column in codes.T]))


def test_left_out_values_are_those_of_the_other_images():
    rng = np.random.default_rng(1)
    codes = rng.integers(0, 20, size=(57, 3))
    metric = scored(codes, 20, num_groups=6, seed=4)
    group = np.random.default_rng((4,)).permutation(57) % 6
    for place in range(6):
        alone = values(scored(codes[group != place], 20))
        found = [metric.per_sample()[f"{key}_leave_one_group_out"][place] for key in KEYS]
        assert found == pytest.approx(alone)


def test_correction_takes_most_of_the_bias_away_and_the_interval_holds_what_is_expected():
    """100 sets of 100 images with 4 of 64 codes each; what all of them together have is the truth."""
    rng = np.random.default_rng(2)
    p = rng.dirichlet(np.full(64, 0.8))
    truth = np.exp(entropy(p))
    plain, unbiased, covered = [], [], []
    for _ in range(100):
        found = scored(rng.choice(64, size=(100, 4), p=p), 64).compute()
        plain.append(found["codebook_perplexity"].value)
        unbiased.append(found["codebook_perplexity_unbiased"].value)
        covered.append((found["codebook_perplexity"].low, found["codebook_perplexity"].high))
    expected = np.mean(plain)
    assert np.mean([low <= expected <= high for low, high in covered]) >= 0.87
    assert truth - expected > 1.5
    assert abs(truth - np.mean(unbiased)) < 0.2 * (truth - expected)


def test_a_bootstrap_would_lie_below_the_value():
    """Why there is none: a resample holds 63% of the images."""
    rng = np.random.default_rng(3)
    codes = rng.integers(0, 512, size=(100, 4))
    estimate = scored(codes, 512).compute()["codebook_perplexity"]
    resampled = [values(scored(codes[rng.integers(100, size=100)], 512))[1] for _ in range(30)]
    assert max(resampled) < estimate.low < estimate.value


def test_no_interval_reaches_where_no_value_can_be():
    found = scored(np.random.default_rng(4).integers(0, 4, size=(20, 3)), 4).compute()
    for key, estimate in found.items():
        largest = 1 if "usage" in key else 4
        assert 0 <= estimate.low <= estimate.value <= estimate.high <= largest
        assert (estimate.n, estimate.interval) == (20, "jackknife")


def test_size_may_come_with_the_first_batch_or_with_each():
    codes = np.random.default_rng(5).integers(0, 9, size=(30, 2))
    assert scored(codes, 9, num_batches=4).compute() == scored(codes, 9).compute()
    metric = Metric(Config())
    for part in torch.as_tensor(codes).split(10):
        metric.update(codes=part, codebook_size=torch.tensor([9]))
    assert metric.compute() == scored(codes, 9).compute()
    metric.update(codes=part, codebook_size=torch.tensor([10]))
    with pytest.raises(AssertionError, match="codebook_size must be one number"):
        metric.compute()


def test_form_is_checked():
    with pytest.raises(AssertionError, match=r"codes must be in \[0, 8\)"):
        scored(np.full((30, 2), 8), 8).compute()
    with pytest.raises(AssertionError, match=r"codes must be \[n, L\]"):
        scored(np.zeros(30), 8)
    with pytest.raises(ValueError, match=r"num_groups must be at most half the number of samples \(12\), got 10"):
        scored(np.zeros((12, 2)), 8).compute()
    with pytest.raises(ValueError, match="num_groups must be at least 5, got 2"):
        Config(num_groups=2)
