"""Paired comparisons against closed forms, scipy's tests, and simulations of their error rates."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from metrics.shared import paired as module
from metrics.shared.bootstrap import Resampling
from metrics.shared.paired import PairedJackknife, PairedMeans, holm, places

RNG = np.random.default_rng(7)


def means(first: np.ndarray, second: np.ndarray, owner: np.ndarray | None = None, seed: int = 0) -> PairedMeans:
    return PairedMeans(first, second, np.arange(len(first)) if owner is None else owner, Resampling(seed=seed))


def test_against_the_t_test() -> None:
    first = RNG.standard_normal(400)
    second = first + 0.1 + 0.5 * RNG.standard_normal(400)
    found, reference = means(first, second), stats.ttest_rel(second, first)
    low, high = reference.confidence_interval()
    assert found.value == pytest.approx((second - first).mean())
    assert found.low == pytest.approx(low, abs=0.006) and found.high == pytest.approx(high, abs=0.006)
    assert found.p_value() == pytest.approx(reference.pvalue, abs=0.004)
    above = stats.ttest_1samp(second - first, 0.06, alternative="greater").pvalue
    assert found.p_above(0.06) == pytest.approx(above, abs=0.015)


def test_against_all_sign_flips() -> None:
    difference = np.array([0.3, -0.1, 0.4, 0.2, 0.0, 0.5, -0.2, 0.1])
    signs = 2.0 * ((np.arange(2**8)[:, None] >> np.arange(8)) & 1) - 1
    exact = np.mean(np.abs(signs @ difference) >= difference.sum() - 1e-9)
    assert means(np.zeros(8), difference).p_value() == pytest.approx(exact, abs=0.012)


def test_captions_of_a_sample_count_once() -> None:
    """Every value five times over is no more evidence."""
    first, second = RNG.standard_normal((2, 60))
    once = means(first, second)
    often = means(np.repeat(first, 5), np.repeat(second, 5), np.repeat(np.arange(60), 5))
    assert (often.n, often.low, often.high) == pytest.approx((once.n, once.low, once.high))
    assert often.p_value() == once.p_value()


def test_no_difference_is_no_evidence() -> None:
    same = means(np.ones(20), np.ones(20))
    assert (same.low, same.high, same.p_value(), same.p_above(0.0)) == (0, 0, 1, 1)
    assert same.p_above(-0.1) == pytest.approx(1e-4)
    assert same.samples_needed(0) is None


def test_block_size_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = RNG.standard_normal((2, 50))
    whole = means(first, second).p_value()
    monkeypatch.setattr(module, "BLOCK_ELEMENTS", 50 * 17)
    assert means(first, second).p_value() == whole


def test_detectable_difference_is_detected_in_four_of_five() -> None:
    """Simulated power at the stated smallest detectable difference, and the false alarms without a difference."""
    noise = 0.7
    detectable = means(np.zeros(100), noise * RNG.standard_normal(100)).smallest_detectable()
    assert detectable == pytest.approx(2.8 * noise / 10, rel=0.2)
    shift = 2.8016 * noise / 10
    found = [
        stats.ttest_1samp(shift * hit + noise * RNG.standard_normal(100), 0).pvalue <= 0.05
        for hit in (1, 0)
        for _ in range(1000)
    ]
    assert np.mean(found[:1000]) == pytest.approx(0.8, abs=0.04)
    few = [means(np.zeros(30), noise * RNG.standard_normal(30), seed=run).p_value() <= 0.05 for run in range(60)]
    assert sum(few) <= 8


def test_samples_needed() -> None:
    found = means(np.zeros(100), RNG.standard_normal(100))
    assert found.samples_needed(found.smallest_detectable()) == 100
    assert found.samples_needed(-found.smallest_detectable() / 2) == 400


def test_jackknife_of_a_mean_is_the_paired_t_test_of_groups() -> None:
    """Leaving out group i of a mean of g equal groups: the jackknife is the t test of the group means."""
    groups = RNG.standard_normal((2, 10)) + np.array([[0.0], [0.4]])
    scores = [(each.mean(), (each.sum() - each) / 9) for each in groups]
    found = PairedJackknife(scores[0], scores[1], n=100)
    reference = stats.ttest_rel(groups[1], groups[0])
    low, high = reference.confidence_interval()
    assert (found.low, found.high, found.p_value()) == pytest.approx((low, high, reference.pvalue))
    above = stats.ttest_1samp(groups[1] - groups[0], 0.2, alternative="greater").pvalue
    assert found.p_above(0.2) == pytest.approx(above)


def test_jackknife_of_equal_models() -> None:
    score = (1.0, np.linspace(0.9, 1.1, 10))
    found = PairedJackknife(score, score, n=10)
    assert found.p_value() == 1 and found.p_above(-0.1) == 0 and found.p_above(0.1) == 1


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == [] and holm([0.9, 0.8]) == [1.0, 1.0]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_lies_between_none_and_bonferroni(p_values: list[float]) -> None:
    for p_value, adjusted in zip(p_values, holm(p_values), strict=True):
        assert p_value <= adjusted <= min(1.0, len(p_values) * p_value) + 1e-12


def test_places() -> None:
    differ = {frozenset("ac"), frozenset("ad"), frozenset("bd")}
    found = places("abcd", differ)
    assert {name: (place.best, place.worst, place.group) for name, place in found.items()} == {
        "a": (1, 2, 1),
        "b": (1, 3, 1),
        "c": (2, 4, 2),
        "d": (3, 4, 2),
    }
    assert places([], set()) == {}
