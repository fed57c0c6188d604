"""Settings, the check of features, and intervals of shares."""

import numpy as np
import pytest
import torch

from metrics.kid import Config, Metric
from metrics.shared.bootstrap import jackknife
from metrics.shared.detecting import DetectorSettings, GroupedSettings, jackknife_estimate

INCEPTION = {"detector": "inception", "weights_file": "w.pth", "weights_sha256": "a" * 64}


def test_settings_name_a_detector():
    spec = DetectorSettings(**INCEPTION).detector_spec()
    assert (spec.name, spec.weights_file, spec.digest) == ("inception", "w.pth", "a" * 64)
    assert DetectorSettings().detector_spec().name == "efficientnet-lite0"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"detector": "vgg"}, "detector must be one of"),
        ({"detector": "inception"}, "inception needs weights_file"),
        ({"weights_file": "w.pth"}, "must be empty for efficientnet-lite0"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"num_groups": 4}, "num_groups must be at least 5, got 4"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        GroupedSettings(**settings)


def test_features_of_another_detector_are_refused():
    metric = Metric(Config(detector="random-vgg"))
    with pytest.raises(AssertionError, match=r"generated_features must be \[n, 64\], got \(5, 1280\)"):
        metric.update(reference_features=torch.zeros(5, 64), generated_features=torch.zeros(5, 1280))


def test_protocol_names_detector_groups_and_counts():
    metric = Metric(Config(**INCEPTION, num_groups=5, seed=3))
    metric.update(reference_features=torch.rand(20, 2048), generated_features=torch.rand(30, 2048))
    assert metric.shared_protocol() == {
        "detector": "inception",
        "detector_sha256": "a" * 64,
        "resize": "tf1-299px",
        "num_groups": 5,
        "num_reference": 20,
        "num_generated": 30,
        "seed": 3,
    }


def test_an_interval_is_the_jackknifes():
    left_out = np.array([1.0, 2.0, 3.0, 4.0, 5.5])
    estimate = jackknife_estimate(3.0, left_out, n=50, higher_is_better=False)
    half_width = jackknife(3.0, left_out).half_width
    assert (estimate.low, estimate.high) == (3.0 - half_width, 3.0 + half_width)
    assert (estimate.value, estimate.n, estimate.interval, estimate.higher_is_better) == (3.0, 50, "jackknife", False)


def test_a_share_stays_in_its_range():
    left_out = np.array([0.97, 0.98, 0.99, 0.96, 1.0])
    half_width = jackknife(0.98, left_out).half_width
    cut = jackknife_estimate(0.98, left_out, n=50, higher_is_better=True, bounds="cut")
    assert (cut.low, cut.high) == (0.98 - half_width, 1.0)
    logit = jackknife_estimate(0.98, left_out, n=50, higher_is_better=True, bounds="logit")
    assert 0 < logit.low < 0.98 < logit.high < 1
    odds = [share / (1 - share) for share in logit[:3]]
    assert odds[0] / odds[1] == pytest.approx(odds[2] / odds[0]), "symmetric in the logit"
    assert jackknife_estimate(0.02, 1 - left_out, n=50, higher_is_better=True, bounds="cut").low == 0.0


def test_a_logit_interval_of_little_width_is_the_plain_one():
    left_out = 0.3 + 1e-6 * np.arange(5)
    plain, logit = (
        jackknife_estimate(0.3, left_out, n=50, higher_is_better=True, bounds=bounds) for bounds in ("none", "logit")
    )
    assert logit.low - 0.3 == pytest.approx(plain.low - 0.3, rel=1e-4)


@pytest.mark.parametrize("bounds", ["cut", "logit"])
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_all_or_none_is_no_certainty(bounds, value):
    """Every group says the same, so the jackknife has no width; 128 trials leave up to 2.8% open."""
    estimate = jackknife_estimate(value, np.full(10, value), n=128, higher_is_better=True, bounds=bounds)
    assert estimate.high - estimate.low == pytest.approx(1 - 0.025 ** (1 / 128))
    assert estimate.low <= value <= estimate.high
    assert estimate.interval == "exact"
