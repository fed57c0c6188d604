"""Gains of hits: few equal pairs show nothing; other values keep the interval of the bootstrap."""

import math

import numpy as np
import pytest

from metrics.shared.bootstrap import Resampling
from pipelines.shared.comparing import compare
from pipelines.shared.gains import gain_of
from pipelines.shared.gating import INCONCLUSIVE, NOT_WON, PASSED, UNDECIDED, decide
from tests.pipelines.shared.test_gating import BASE, FAST, gate, noise, scored


def test_the_direction_in_which_it_is_better() -> None:
    first, second = scored("champion", up=BASE, down=BASE), scored("challenger", up=BASE + 0.2, down=BASE + 0.2)
    up, down = (gain_of(first, second, score, FAST) for score in ("up", "down"))
    assert up and down and (up.value, down.value) == pytest.approx((0.2, -0.2))
    assert gain_of(first, second, "median", FAST) is None


def test_values_that_are_no_hits_keep_the_interval_of_the_bootstrap() -> None:
    first, second = scored("champion", up=BASE), scored("challenger", up=BASE + noise(1))
    gain, paired = gain_of(first, second, "up", FAST), compare(first, second, "up", FAST)
    assert gain and paired and (gain.low, gain.high) == (paired.low, paired.high)
    assert gain.smallest_detectable == paired.smallest_detectable()


def test_many_hits_keep_it_too() -> None:
    rng = np.random.default_rng(2)
    first, second = (scored(key, up=rng.random(400) < 0.5) for key in ("champion", "challenger"))
    gain, paired = gain_of(first, second, "up", FAST), compare(first, second, "up", FAST)
    assert gain and paired and (gain.low, gain.high) == (paired.low, paired.high)


@pytest.mark.parametrize(("num", "distance"), [(8, 0.02), (20, 0.3)])
def test_the_number_of_equal_hits_that_would_decide(num: int, distance: float) -> None:
    own = [scored(key, up=np.arange(num) % 2) for key in ("champion", "challenger")]
    gain = gain_of(*own, "up", FAST)
    assert gain
    needed = gain.samples_needed(distance)
    assert needed is not None
    assert 1 - 0.025 ** (1 / needed) <= distance < 1 - 0.025 ** (1 / (needed - 1))
    assert gain.samples_needed(0.0) is None and gain.samples_needed(1e-9) is None


def hits(num: int, num_hit: int) -> np.ndarray:
    return (np.arange(num) < num_hit).astype(float)


def test_equal_hits_of_few_samples_show_nothing() -> None:
    first, second = (
        scored("champion", up=hits(8, 4), other=hits(8, 7)),
        scored("challenger", up=hits(8, 4), other=hits(8, 7)),
    )
    verdict = decide(first, second, gate(guard={"other": 0.1}), FAST)
    assert verdict.verdict == INCONCLUSIVE and [each.outcome for each in verdict.outcomes] == [UNDECIDED, UNDECIDED]
    up = verdict.outcomes[0]
    assert (up.low, up.high) == pytest.approx((-(1 - 0.025 ** (1 / 8)), 1 - 0.025 ** (1 / 8)))
    assert up.samples_needed == math.ceil(math.log(0.025) / math.log(1 - 0.1)) == 36
    many = [scored(key, up=hits(80, 40), other=hits(80, 70)) for key in ("champion", "challenger")]
    assert [each.outcome for each in decide(*many, gate(guard={"other": 0.1}), FAST).outcomes] == [NOT_WON, PASSED]


def test_values_between_0_and_1_are_no_hits() -> None:
    first = scored("champion", up=np.full(8, 0.5), other=hits(8, 4))
    second = scored("challenger", up=np.full(8, 0.5), other=hits(8, 4) * 0.5)
    verdict = decide(first, second, gate(report=("other",)), FAST)
    assert (verdict.outcomes[0].low, verdict.outcomes[0].high) == (0, 0)


def test_a_loss_of_rare_hits_passes_a_guard_in_at_most_one_run_of_forty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 30 samples one in ten is lost: in 4.2% of runs none is seen, and a bootstrap's interval has no width."""
    monkeypatch.setattr("metrics.shared.paired.NUM_FLIPS", 99)
    rng = np.random.default_rng(5)
    passed = unseen = 0
    for _ in range(200):
        lost = rng.random(30) < 0.1
        first = scored("champion", up=np.zeros(30), other=np.ones(30))
        second = scored("challenger", up=np.ones(30), other=np.where(lost, 0.0, 1.0))
        guard = decide(first, second, gate(guard={"other": 0.1}), Resampling(num_resamples=100)).outcomes[1]
        passed, unseen = passed + (guard.outcome == PASSED), unseen + (not lost.any())
    assert unseen > 200 * 0.025 and passed <= 200 * 0.025
