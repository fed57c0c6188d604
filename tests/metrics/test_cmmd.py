"""The Gaussian-kernel distance against the published formula, closed forms, and its bias."""

import math

import numpy as np
import pytest
import torch

from metrics.cmmd import Config, Metric
from metrics.shared.bootstrap import jackknife

KEY = "mmd_rbf_random-vgg"


def features(num_rows: int, seed: int, shift: float = 0.0) -> torch.Tensor:
    return torch.randn(num_rows, 64, generator=torch.Generator().manual_seed(seed)) + 0.5 + shift * torch.eye(64)[0]


def scored(one: torch.Tensor, other: torch.Tensor, **settings) -> Metric:
    metric = Metric(Config(detector="random-vgg", **settings))
    metric.update(reference_features=one, generated_features=other)
    return metric


def published(one: torch.Tensor, other: torch.Tensor) -> float:
    """The published code's formula, from distances."""
    one, other = (torch.nn.functional.normalize(rows.double(), dim=1) for rows in (one, other))

    def mean(left: torch.Tensor, right: torch.Tensor) -> float:
        squared = (left[:, None] - right[None]).square().sum(-1)
        return float(torch.exp(-squared / (2 * 10**2)).mean())

    return 1000 * (mean(one, one) + mean(other, other) - 2 * mean(one, other))


def test_biased_estimate_is_the_published_one():
    one, other = features(40, 0), features(55, 1, shift=1.0)
    assert scored(one, other).compute()[KEY].value == pytest.approx(published(one, other), rel=1e-9)


def test_two_points_have_a_closed_form():
    """All test images alike, all generated images alike: 2 (1 - k), both estimates, no spread."""
    one, other = torch.zeros(2, 64), torch.zeros(2, 64)
    one[:, 0], other[:, 0], other[:, 1] = 3.0, 1.0, 1.0
    truth = 2000 * (1 - math.exp(-(1 - 0.5**0.5) / 100))
    estimates = scored(one[:1].expand(20, 64), other[:1].expand(30, 64)).compute()
    for estimate in estimates.values():
        assert estimate.value == pytest.approx(truth, rel=1e-9)
        assert estimate.high - estimate.low < 1e-6 * truth


def test_embeddings_are_normalised():
    one, other = features(40, 0), features(40, 1, shift=1.0)
    lengths = torch.linspace(0.5, 7, 40)[:, None]
    for key, estimate in scored(one * lengths, other).compute().items():
        assert estimate.value == pytest.approx(scored(one, other).compute()[key].value, rel=1e-4)


def test_biased_is_far_above_zero_for_a_perfect_model_and_unbiased_is_not():
    values = [scored(features(50, 2 * seed), features(50, 2 * seed + 1)).compute() for seed in range(40)]
    biased, unbiased = (np.array([each[key].value for each in values]) for key in (KEY, f"{KEY}_unbiased"))
    assert biased.min() > 0
    assert biased.mean() > 10 * unbiased.std() / 40**0.5
    assert unbiased.mean() == pytest.approx(0, abs=3 * unbiased.std() / 40**0.5)
    assert sum(each[f"{KEY}_unbiased"].low <= 0 <= each[f"{KEY}_unbiased"].high for each in values) >= 36
    assert sum(each[KEY].low <= biased.mean() <= each[KEY].high for each in values) >= 36


def test_bias_shrinks_with_the_number_of_images():
    few, many = (scored(features(count, 0), features(count, 1)).compute() for count in (50, 800))
    assert few[KEY].value > 8 * many[KEY].value


def test_left_out_values_make_the_intervals():
    metric = scored(features(60, 0), features(70, 1, shift=1.0))
    estimates, arrays = metric.compute(), metric.per_sample()
    assert tuple(estimates) == (KEY, f"{KEY}_unbiased")
    for key, estimate in estimates.items():
        left_out = arrays[f"{key}_leave_one_group_out"]
        assert left_out.shape == (10,)
        assert estimate.high - estimate.value == pytest.approx(jackknife(estimate.value, left_out).half_width)
        assert (estimate.n, estimate.higher_is_better) == (60, False)


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"architecture": "ViT-L-14-336-quickgelu", "resize": "torch-bicubic"}, "cmmd"),
        ({"architecture": "ViT-L-14-336-quickgelu"}, "mmd_rbf_open-clip-vit-l-14-336-quickgelu"),
        ({"architecture": "ViT-L-14-336", "resize": "torch-bicubic"}, "mmd_rbf_open-clip-vit-l-14-336-torch-bicubic"),
        ({"architecture": "ViT-B-32", "resize": "torch-bicubic"}, "mmd_rbf_open-clip-vit-b-32-torch-bicubic"),
    ],
)
def test_only_the_published_tower_and_resize_give_cmmd(settings, key):
    """`ViT-L-14-336` of open_clip has another activation than OpenAI's weights were trained with."""
    assert Metric(Config(detector="open-clip", weights_file="w.pt", weights_sha256="a" * 64, **settings)).key == key
    assert Metric(Config()).key == "mmd_rbf_efficientnet-lite0"


def test_batches_may_come_apart_and_be_empty():
    one, other = features(40, 0), features(50, 1)
    parts = Metric(Config(detector="random-vgg"))
    parts.update(reference_features=one, generated_features=other[:0])
    parts.update(reference_features=one[:0], generated_features=other)
    assert parts.compute() == scored(one, other).compute()
