"""The kernel distance against a closed form and torchmetrics, and what is wrong with subsets."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from scipy.special import stdtrit
from torchmetrics.image.kid import KernelInceptionDistance

from metrics.kid import Config, Metric, cubic_kernel
from metrics.shared.bootstrap import jackknife
from metrics.shared.kernels import mmd_sums

RANDOM = {"detector": "random-vgg"}
SMALL = torch.linspace(0.5, 1.5, 3).double()


def features(num_rows: int, seed: int, shift: float = 0.0, width: int = 64) -> torch.Tensor:
    """Rectified rows, as a network gives."""
    return (torch.randn(num_rows, width, generator=torch.Generator().manual_seed(seed)) + 0.3 + shift).relu()


def scored(one: torch.Tensor, other: torch.Tensor, **settings) -> Metric:
    metric = Metric(Config(**RANDOM, **settings))
    metric.update(reference_features=one, generated_features=other)
    return metric


def gaussians(num_rows: int, seed: int, shift: float) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    one, other = (torch.randn(num_rows, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    return one + 0.2, other * SMALL + 0.2 + shift


def closed_form(shift: float) -> float:
    """Of `gaussians`: mean of (x.y/3 + 1)^3 by the first three moments of two independent Gaussians."""
    means = [torch.full((3,), 0.2).double(), torch.full((3,), 0.2 + shift).double()]
    covariances = [torch.eye(3).double(), torch.diag(SMALL.square())]
    moments = []
    for mean, covariance in zip(means, covariances, strict=True):
        third = torch.einsum("i,j,k->ijk", mean, mean, mean)
        for pattern in ("ij,k->ijk", "ik,j->ijk", "jk,i->ijk"):
            third = third + torch.einsum(pattern, covariance, mean)
        moments.append((mean, covariance + torch.outer(mean, mean), third))

    def expected(first: int, second: int) -> torch.Tensor:
        one, two, three = ((a * b).sum() for a, b in zip(moments[first], moments[second], strict=True))
        return 1 + 3 * one / 3 + 3 * two / 9 + three / 27

    return float(expected(0, 0) + expected(1, 1) - 2 * expected(0, 1))


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({}, "kd_efficientnet-lite0"),
        ({"detector": "random-vgg"}, "kd_random-vgg"),
        ({"detector": "random-vgg", "resize": "torch"}, "kd_random-vgg-torch"),
        ({"detector": "inception", "weights_file": "w.pth", "weights_sha256": "a" * 64}, "kid"),
        ({"detector": "inception", "weights_file": "w", "weights_sha256": "a" * 64, "resize": "clean"}, "kid_clean"),
    ],
)
def test_only_inception_gives_kid(settings, key):
    assert Metric(Config(**settings)).key == key


def test_the_mean_is_the_closed_form_and_the_interval_covers_it():
    truth, covered, values = closed_form(0.2), 0, []
    for seed in range(60):
        value, left_out = mmd_sums(*gaussians(100, seed, 0.2), cubic_kernel(3), num_groups=10, seed=seed).unbiased()
        covered += abs(value - truth) <= jackknife(value, left_out).half_width
        values.append(value)
    assert np.mean(values) == pytest.approx(truth, abs=3 * np.std(values) / 60**0.5)
    assert covered >= 52  # 57 expected; below 52 has a probability of 0.01


def test_a_perfect_model_is_often_below_zero_and_the_interval_holds_zero():
    """The jackknife is conservative there: the U-statistic is degenerate."""
    estimates = []
    for seed in range(60):
        metric = scored(features(50, 2 * seed), features(50, 2 * seed + 1))
        estimates.append(metric.compute()["kd_random-vgg"])
    assert 20 <= sum(each.value < 0 for each in estimates) <= 50
    assert sum(each.low <= 0 <= each.high for each in estimates) >= 55
    assert np.mean([each.value for each in estimates]) == pytest.approx(
        0, abs=3 * np.std([each.value for each in estimates]) / 60**0.5
    )


def test_torchmetrics_subsets_scatter_about_it_on_the_same_scale():
    class Passing(torch.nn.Module):
        num_features = 64

        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            return rows

    one, other = features(400, 0), features(400, 1, shift=0.1)
    with pytest.warns(UserWarning, match="will save all extracted features"):
        peer = KernelInceptionDistance(feature=Passing(), subsets=200, subset_size=100)
    peer.update(one, real=True)
    peer.update(other, real=False)
    copy = deepcopy(peer)
    torch.manual_seed(0)
    theirs, deviation = peer.compute()
    again, _ = copy.compute()
    estimate = scored(one, other).compute()["kd_random-vgg"]
    error = (estimate.high - estimate.value) / stdtrit(9, 0.975)
    assert abs(float(theirs) - estimate.value) < 3 * float(deviation) / 200**0.5
    assert abs(float(theirs) - estimate.value) < 3 * error
    assert theirs != again, "the peer moves from call to call"
    assert float(deviation) > 1.5 * error, "and its deviation is of subsets of 100, not of 400 images"


def test_global_random_state_is_neither_used_nor_changed():
    one, other = features(60, 0), features(60, 1, shift=0.1)
    results = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        results.append(scored(one, other).compute())
        assert torch.equal(torch.get_rng_state(), before)
    assert results[0] == results[1]


def test_fewer_than_a_thousand_and_different_counts_do():
    """torchmetrics refuses fewer than a subset holds, clean-fid takes smaller subsets in silence."""
    metric = scored(features(40, 0), features(90, 1, shift=0.2))
    estimate = metric.compute()["kd_random-vgg"]
    assert estimate.n == 40
    assert estimate.value > 0
    assert (metric.protocol()["num_reference"], metric.protocol()["num_generated"]) == (40, 90)


def test_value_is_of_everything_whatever_the_groups():
    one, other = features(60, 0), features(60, 1, shift=0.1)
    values = [
        scored(one, other, num_groups=groups, seed=seed).compute()["kd_random-vgg"].value
        for groups, seed in ((5, 0), (10, 0), (10, 1), (30, 2))
    ]
    assert values == pytest.approx([values[0]] * 4, rel=1e-10)


def test_left_out_values_make_the_interval():
    metric = scored(features(60, 0), features(60, 1, shift=0.1))
    estimate = metric.compute()["kd_random-vgg"]
    left_out = metric.per_sample()["kd_random-vgg_leave_one_group_out"]
    assert left_out.shape == (10,)
    assert estimate.high - estimate.value == pytest.approx(jackknife(estimate.value, left_out).half_width)
    assert not estimate.higher_is_better


def test_batches_may_come_apart_and_be_empty():
    one, other = features(40, 0), features(50, 1)
    parts = Metric(Config(**RANDOM))
    parts.update(reference_features=one[:0], generated_features=other[:20])
    parts.update(reference_features=one, generated_features=other[20:])
    assert parts.compute() == scored(one, other).compute()
