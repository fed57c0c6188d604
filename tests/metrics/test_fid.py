"""Names, intervals and refusals of the Frechet distance; the distance itself is in shared/test_frechet.py."""

import numpy as np
import pytest
import torch

from metrics.fid import Config, Metric
from metrics.shared.frechet import (
    FeatureSet,
    frechet_distance,
    frechet_infinity,
    frechet_jackknife,
    random_projection,
)
from metrics.shared.protocol import differences

RANDOM = {"detector": "random-vgg", "projection": 8}
FILE = {"weights_file": "w.pth", "weights_sha256": "a" * 64}


def gaussians(num_rows: int, width: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Two samples of Gaussians with diagonal covariances, and the distance of the Gaussians."""
    generator = torch.Generator().manual_seed(seed)
    scale, shift = torch.linspace(0.5, 1.5, width).double(), 0.1
    one, other = (torch.randn(num_rows, width, generator=generator, dtype=torch.float64) for _ in range(2))
    return one, other * scale + shift, float((scale - 1).square().sum() + width * shift**2)


def scored(config: Config, num_rows: int = 100, seed: int = 0) -> Metric:
    metric = Metric(config)
    one, other, _ = gaussians(num_rows, metric.detector.num_features, seed)
    metric.update(reference_features=one.float(), generated_features=other.float())
    return metric


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({}, "fd_efficientnet-lite0_p32"),
        ({"projection": 0}, "fd_efficientnet-lite0"),
        ({"detector": "random-vgg", "projection": 16}, "fd_random-vgg_p16"),
        (FILE | {"detector": "inception", "projection": 0}, "fid"),
        (FILE | {"detector": "inception"}, "fd_inception_p32"),
        (FILE | {"detector": "inception", "projection": 0, "resize": "clean"}, "fid_clean"),
        (FILE | {"detector": "inception", "resize": "torch-antialias"}, "fd_inception-torch-antialias_p32"),
        (FILE | {"detector": "open-clip", "architecture": "ViT-B-32"}, "fd_open-clip-vit-b-32_p32"),
        ({"resize": "tf1"}, "fd_efficientnet-lite0-tf1_p32"),
    ],
)
def test_only_inception_as_it_is_gives_fid(settings, key):
    assert Metric(Config(**settings)).key == key


def test_results_are_the_distance_and_its_jackknife():
    metric = scored(Config(**RANDOM))
    values, protocol = metric.compute(), metric.protocol()
    assert tuple(values) == ("fd_random-vgg_p8", "fd_random-vgg_p8_unbiased", "fd_random-vgg_p8_infinity")
    one, other = (metric.rows(name).double() @ random_projection(64, 8, 0) for name in metric.inputs)
    plain, unbiased, infinity = values.values()
    assert plain.value == pytest.approx(frechet_distance(FeatureSet(one), FeatureSet(other)))
    result, left_out = frechet_jackknife(one, other, 10, 0)
    assert unbiased.value == pytest.approx(result.unbiased)
    assert unbiased.value < plain.value
    extrapolated = frechet_infinity(one, other, 0)
    assert infinity.value == pytest.approx(extrapolated.value)
    for estimate, half_width in (
        (plain, result.half_width),
        (unbiased, result.half_width),
        (infinity, extrapolated.half_width(result)),
    ):
        assert estimate.high - estimate.value == pytest.approx(half_width)
        assert (estimate.n, estimate.interval, estimate.higher_is_better) == (100, "jackknife", False)
    assert np.array_equal(metric.per_sample()["fd_random-vgg_p8_leave_one_group_out"], left_out)
    assert protocol["detector_sha256"] == metric.detector.digest
    assert (protocol["resize"], protocol["projection"]) == ("clean-64px", 8)
    assert (protocol["num_reference"], protocol["num_generated"]) == (100, 100)


def test_identity_projection_changes_nothing():
    """All 64 dimensions, rotated: projection by fewer is the only change that a projection makes."""
    one, other, _ = gaussians(500, 64, 0)
    rotation = random_projection(64, 64, 0)
    plain, rotated = (
        frechet_distance(FeatureSet(a), FeatureSet(b)) for a, b in ((one, other), (one @ rotation, other @ rotation))
    )
    assert rotated == pytest.approx(plain, rel=1e-9)


@pytest.mark.parametrize("rows_per_dim", [6, 12])
def test_unbiased_interval_covers_the_truth(rows_per_dim):
    """At 6 and more samples per dimension; the plain distance is far above it there."""
    width, covered, plain, unbiased = 8, 0, [], []
    for seed in range(40):
        one, other, truth = gaussians(rows_per_dim * width, width, seed)
        result, _ = frechet_jackknife(one, other, num_groups=10, seed=seed)
        covered += abs(result.unbiased - truth) <= result.half_width
        plain.append(result.value)
        unbiased.append(result.unbiased)
    assert covered >= 34  # 38 expected; below 34 has a probability of 0.014
    assert np.mean(unbiased) == pytest.approx(truth, rel=0.15)
    assert np.mean(plain) > 1.4 * truth


def test_a_resize_belongs_to_the_protocol():
    protocols = [scored(Config(**RANDOM, resize=rule)).protocol() for rule in ("", "clean", "torch")]
    assert protocols[0] == protocols[1], "its usual rule by name"
    assert [protocol["resize"] for protocol in protocols] == ["clean-64px", "clean-64px", "torch-64px"]


def test_an_architecture_belongs_to_the_protocol():
    tower = FILE | {"detector": "open-clip", "projection": 8}
    protocols = [scored(Config(**tower, architecture=name)).protocol() for name in ("ViT-B-32", "ViT-B-32-quickgelu")]
    assert differences(*protocols) == ("architecture", "metric")
    assert "architecture" not in scored(Config(**RANDOM)).protocol()


def test_too_few_samples_per_dimension_are_refused_and_would_be_wrong():
    with pytest.raises(ValueError, match="80 test and 80 generated images, but 32 dimensions need 192 of each"):
        scored(Config(), num_rows=80).compute()
    one, other, truth = gaussians(64, 64, 0)
    assert abs(frechet_jackknife(one, other, 10, 0)[0].unbiased - truth) > 0.15 * truth
    assert scored(Config(detector="random-vgg", projection=32, min_samples_per_dim=2), num_rows=80).compute()


def test_counts_of_the_two_sets_may_differ_and_come_apart():
    config = Config(**RANDOM)
    one, other, _ = gaussians(120, 64, 0)
    whole, parts = Metric(config), Metric(config)
    whole.update(reference_features=one, generated_features=other[:70])
    parts.update(reference_features=one[:20], generated_features=other[:0])
    parts.update(reference_features=one[20:20], generated_features=other[:70])
    parts.update(reference_features=one[20:], generated_features=other[:0])
    assert parts.compute() == whole.compute()
    assert whole.compute()["fd_random-vgg_p8"].n == 70


def test_features_of_another_detector_are_refused():
    metric = Metric(Config(**RANDOM))
    with pytest.raises(AssertionError, match=r"reference_features must be \[n, 64\], got \(5, 1280\)"):
        metric.update(reference_features=torch.zeros(5, 1280), generated_features=torch.zeros(5, 64))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"detector": "vgg"}, "detector must be one of"),
        ({"projection": 1280}, r"projection must be in \[0, 1280\) for efficientnet-lite0, got 1280"),
        ({"projection": -1}, "projection must be in"),
        ({"min_samples_per_dim": 0}, "min_samples_per_dim must be above 0"),
        ({"num_groups": 2}, "num_groups must be at least 5"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"detector": "inception"}, "inception needs weights_file"),
        ({"resize": "bicubic"}, "resize must be one of clean, tf1, torch"),
        ({"architecture": "ViT-B-32"}, "architecture must be empty for efficientnet-lite0"),
        (FILE | {"detector": "open-clip"}, "architecture: open_clip has no ''"),
        (FILE | {"detector": "open-clip", "architecture": "roberta-ViT-B-32"}, "open_clip fetches the settings"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        Config(**settings)
