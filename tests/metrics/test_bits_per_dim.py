"""Bits per dimension against closed forms."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import entropy

from metrics.bits_per_dim import Config, Metric


def scored(nats, num_values, **settings) -> Metric:
    metric = Metric(Config(**settings))
    metric.update(
        log_likelihoods=torch.as_tensor(nats, dtype=torch.float64), num_values=torch.as_tensor(num_values).long()
    )
    return metric


def test_a_model_that_knows_nothing_needs_eight_bits():
    num_values = np.array([3 * 32 * 32, 3 * 64 * 64, 1])
    value = scored(-num_values * math.log(256), num_values).compute()["bits_per_dim"]
    assert value.value == pytest.approx(8)
    assert (value.low, value.high) == (pytest.approx(8), pytest.approx(8))


def test_the_true_distribution_needs_its_entropy():
    """Images of independent values: the mean is the entropy in bits, within the interval."""
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(256))
    images = rng.choice(256, size=(300, 192), p=p)
    estimate = scored(np.log(p)[images].sum(1), np.full(300, 192)).compute()["bits_per_dim"]
    assert estimate.low < entropy(p, base=2) < estimate.high
    assert estimate.high - estimate.low < 0.02
    assert (estimate.n, estimate.interval, estimate.higher_is_better) == (300, "bootstrap", False)


def test_images_count_alike_whatever_their_size():
    metric = scored([-8 * math.log(2), -100 * math.log(2)], [8, 50])
    assert metric.per_sample()["bits_per_dim"] == pytest.approx([1, 2])
    assert metric.compute()["bits_per_dim"].value == pytest.approx(1.5)


def test_the_interval_is_that_of_a_mean():
    rng = np.random.default_rng(1)
    nats = -rng.normal(2000, 100, size=400)
    estimate = scored(nats, np.full(400, 768), num_resamples=2000).compute()["bits_per_dim"]
    standard_error = (nats / 768 / math.log(2)).std() / 20
    assert (estimate.high - estimate.low) / 3.92 == pytest.approx(standard_error, rel=0.1)


def test_protocol_tells_a_bound_from_an_exact_value():
    exact, bound = (scored([-1.0, -2.0], [4, 4], likelihood=kind).protocol() for kind in ("exact", "bound"))
    assert exact["likelihood"] == "exact"
    assert bound["likelihood"] == "lower bound, so that the value is an upper bound"


def test_form_is_checked():
    with pytest.raises(AssertionError, match="a log-likelihood above 0 is that of a density"):
        scored([-1.0, 2.0], [4, 4])
    with pytest.raises(AssertionError, match=r"must be \[n\]"):
        scored([-1.0, -2.0], [4])
    with pytest.raises(AssertionError, match="at least one value"):
        scored([-1.0], [0])
    with pytest.raises(AssertionError, match="must be float64, got"):
        Metric(Config()).update(log_likelihoods=torch.tensor([-1.0]), num_values=torch.tensor([4]))


def test_settings_are_checked():
    with pytest.raises(ValueError, match="likelihood must be one of exact, bound, got 'elbo'"):
        Config(likelihood="elbo")
    with pytest.raises(ValueError, match="seed must be at least 0"):
        Config(seed=-1)
