"""Paired differences: the interval covers the truth, and pairing makes it narrow."""

import numpy as np

from pipelines.shared.reporting.pairs import PairedDifference, paired_interval


def test_interval_of_a_known_mean() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(100):
        difference = rng.normal(0.3, 1.0, size=200)
        low, high = paired_interval(difference, np.arange(200), seed=trial, num_resamples=400)
        covered += low <= 0.3 <= high
    assert 88 <= covered <= 99, "a 95% interval covers the truth about 95 times in 100"


def test_values_of_one_sample_move_together() -> None:
    difference = np.repeat(np.random.default_rng(1).normal(size=50), 8)
    alone = paired_interval(difference, np.arange(400), seed=0, num_resamples=1000)
    together = paired_interval(difference, np.repeat(np.arange(50), 8), seed=0, num_resamples=1000)
    assert (together[1] - together[0]) > 2 * (alone[1] - alone[0])


def test_verdicts() -> None:
    def verdict(low: float, high: float, higher_is_better: bool) -> str:
        return PairedDifference(
            metric="m", first=0, second=0, difference=0, low=low, high=high, higher_is_better=higher_is_better
        ).verdict

    assert verdict(0.1, 0.2, True) == "better"
    assert verdict(0.1, 0.2, False) == "worse"
    assert verdict(-0.2, -0.1, False) == "better"
    assert verdict(-0.1, 0.1, True) == "no difference shown"
