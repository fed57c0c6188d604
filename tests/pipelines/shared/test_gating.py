"""The gate: its arithmetic on given values, its error rates by simulation, and what it refuses."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics.shared.bootstrap import Resampling
from pipelines.shared.comparing import LEFT_OUT, Scored
from pipelines.shared.gate_settings import GateEntry
from pipelines.shared.gating import (
    HOLD,
    INCONCLUSIVE,
    INVALID,
    LOST,
    NOT_WON,
    PASSED,
    PROMOTE,
    UNDECIDED,
    WON,
    Outcome,
    check_scores,
    decide,
    first_verdict,
    samples_needed,
    verdict_of,
)

FAST = Resampling(num_resamples=200)
DETECTORS = {"quality": "", "distance": "d"}


def scored(key: str, *, protocols: dict | None = None, median: float = 1.0, **scores: object) -> Scored:
    """`up`, `down` (lower is better) and `other` from values per sample; `fd` from (value, values left out)."""
    values, document = {}, {}
    for name, given_values in scores.items():
        column = f"{'distance' if name == 'fd' else 'quality'}/{name}"
        if name == "fd":
            value, values[column + LEFT_OUT] = given_values
        else:
            values[column] = np.asarray(given_values, dtype=float)
            value = float(values[column].mean())
        document[name] = {"value": value, "n": 40, "higher_is_better": name not in ("down", "fd")}
    document["median"] = {"value": median, "n": 40, "higher_is_better": False}
    return Scored(
        key=key,
        document={
            "scores": document,
            "groups": {
                "quality": [name for name in document if name != "fd"],
                "distance": [name for name in document if name == "fd"],
            },
            "protocols": protocols or {name: {"detector": of, "seed": 0} for name, of in DETECTORS.items()},
            "samples_sha256": "s",
            "seed": 0,
            "judge": "j",
            "judge_sha256": "j",
        },
        values=values,
    )


def gate(**changes: object) -> GateEntry:
    return GateEntry(**{"evaluation": "e", "improve": {"up": 0.1}, **changes})


def noise(seed: int, num: int = 60, scale: float = 0.05) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, scale, num)


BASE = np.random.default_rng(99).random(60)


def test_a_clear_gain_is_promoted() -> None:
    first, second = scored("champion", up=BASE), scored("challenger", up=BASE + 0.3 + noise(0))
    verdict = decide(first, second, gate(), FAST)
    assert verdict.verdict == PROMOTE and verdict.reasons[0].startswith("up gains more than 0.1: gain +0.30")
    (outcome,) = verdict.outcomes
    assert (outcome.outcome, outcome.role, outcome.margin, outcome.n) == (WON, "improve", 0.1, 60)
    assert outcome.low < outcome.gain < outcome.high and outcome.p_value <= 0.05
    assert outcome.gain == pytest.approx(second.values["quality/up"].mean() - BASE.mean())
    assert outcome.samples_needed is None and samples_needed(verdict.outcomes) == 0


def test_a_score_where_lower_is_better_gains_by_falling() -> None:
    first, second = scored("champion", down=BASE), scored("challenger", down=BASE - 0.3 + noise(0))
    verdict = decide(first, second, gate(improve={"down": 0.1}), FAST)
    assert verdict.verdict == PROMOTE and verdict.outcomes[0].gain == pytest.approx(0.3, abs=0.02)
    assert decide(second, first, gate(improve={"down": 0.1}), FAST).verdict == HOLD


def test_a_distance_is_decided_by_its_groups() -> None:
    left = np.linspace(-0.1, 0.1, 10)
    first, second = scored("champion", fd=(9.0, 9 + left)), scored("challenger", fd=(5.0, 5 + left[::-1] / 2))
    verdict = decide(first, second, gate(improve={"fd": 1.0}), FAST)
    assert verdict.verdict == PROMOTE and verdict.outcomes[0].gain == 4.0


def test_shown_not_to_gain_is_hold_and_unclear_is_not() -> None:
    first = scored("champion", up=BASE)
    verdict = decide(first, scored("challenger", up=BASE + noise(1)), gate(), FAST)
    assert verdict.verdict == HOLD and verdict.outcomes[0].outcome == NOT_WON
    assert verdict.reasons[0].startswith("up does not gain 0.1: gain ")
    unclear = decide(first, scored("challenger", up=BASE + 0.1 + noise(2, scale=0.4)), gate(), FAST)
    assert unclear.verdict == INCONCLUSIVE and unclear.outcomes[0].outcome == UNDECIDED


def test_inconclusive_says_how_many_samples_would_decide() -> None:
    first, second = scored("champion", up=BASE), scored("challenger", up=BASE + 0.13 + noise(3, scale=0.4))
    verdict = decide(first, second, gate(), FAST)
    outcome = verdict.outcomes[0]
    distance = abs(outcome.gain - 0.1)
    assert outcome.samples_needed == math.ceil(60 * (outcome.smallest_detectable / distance) ** 2)
    assert verdict.reasons[-1] == f"about {outcome.samples_needed:,} test samples would decide"
    on_the_margin = scored("challenger", up=BASE + np.where(np.arange(60) % 2, 0.6, -0.4))
    verdict = decide(first, on_the_margin, gate(), FAST)
    assert verdict.verdict == INCONCLUSIVE and verdict.outcomes[0].samples_needed is None
    assert verdict.reasons[-1] == "more than 1,000,000 test samples would decide"


@pytest.mark.parametrize(
    ("change", "outcome", "verdict"),
    [(0.0, PASSED, PROMOTE), (-0.5, LOST, HOLD), (-0.2, UNDECIDED, INCONCLUSIVE)],
)
def test_guards(change: float, outcome: str, verdict: str) -> None:
    first = scored("champion", up=BASE, other=BASE)
    second = scored("challenger", up=BASE + 0.5, other=BASE + change + noise(4, scale=0.2))
    found = decide(first, second, gate(guard={"other": 0.2}), FAST)
    assert (found.outcomes[1].outcome, found.verdict) == (outcome, verdict)
    if verdict == HOLD:
        assert found.reasons[0].startswith("guard other is lost: gain -0.5")


def test_of_several_improvements_one_is_enough_and_each_more_costs() -> None:
    first = scored("champion", up=BASE, other=BASE)
    second = scored("challenger", up=BASE + 0.5 + noise(5), other=BASE)
    verdict = decide(first, second, gate(improve={"up": 0.1, "other": 0.0}), FAST)
    assert verdict.verdict == PROMOTE and [each.outcome for each in verdict.outcomes] == [WON, UNDECIDED]
    alone = decide(first, second, gate(improve={"up": 0.1}), FAST).outcomes[0]
    assert verdict.outcomes[0].p_value == pytest.approx(2 * alone.p_value), "Holm: the smallest of two counts double"
    assert samples_needed(verdict.outcomes) == 0, "an undecided improvement is not in the way of one that is won"


def test_reported_scores_decide_nothing() -> None:
    first = scored("champion", up=BASE, other=BASE, median=7.0)
    second = scored("challenger", up=BASE + 0.5, other=BASE - 5, median=9.0)
    verdict = decide(first, second, gate(report=("other", "median")), FAST)
    shown = {each.score: each for each in verdict.outcomes}
    assert verdict.verdict == PROMOTE and shown["other"].gain == pytest.approx(-5)
    assert (shown["median"].gain, shown["median"].low, shown["median"].champion) == (-2.0, None, 7.0)


def test_what_cannot_be_compared_is_invalid() -> None:
    first, second = scored("champion", up=BASE, fd=(1.0, np.ones(5))), scored("challenger", up=BASE + 1)
    other = scored("challenger", up=BASE, protocols={name: {"detector": "", "seed": 1} for name in DETECTORS})
    verdict = decide(first, other, gate(), FAST)
    assert verdict.verdict == INVALID and verdict.outcomes == ()
    assert verdict.reasons == ("up: champion and challenger cannot be compared: seed is 0 of the one, 1 of the other",)
    for field, word in (("samples_sha256", "samples_sha256"), ("seed", "noise_seed")):
        changed = Scored(key="challenger", document={**second.document, field: "x"}, values=second.values)
        assert word in decide(first, changed, gate(), FAST).reasons[0]
    both = gate(improve={"up": 0.1, "fd": 0.1})
    assert "challenger has no score 'fd'" in decide(first, second, both, FAST).reasons[0]


def test_a_reported_score_that_cannot_be_compared_is_noted() -> None:
    protocols = {"quality": {"detector": "", "seed": 0}, "distance": {"detector": "d", "side_px": 64, "seed": 0}}
    first = scored("champion", up=BASE, fd=(1.0, np.ones(5)))
    second = scored("challenger", up=BASE + 1, fd=(1.0, np.ones(5)), protocols=protocols)
    verdict = decide(first, second, gate(report=("fd",)), FAST)
    assert verdict.verdict == PROMOTE
    assert verdict.outcomes[1].gain is None and "side_px" in verdict.outcomes[1].note


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_a_value_that_is_no_number_is_invalid(wrong: float) -> None:
    bad = BASE.copy()
    bad[3] = wrong
    first, second = scored("champion", up=BASE), scored("challenger", up=bad)
    for verdict in (decide(first, second, gate(), FAST), decide(second, first, gate(), FAST)):
        assert verdict.verdict == INVALID and "not finite" in verdict.reasons[0]
    assert first_verdict(second, gate()).verdict == INVALID


def test_the_first_champion() -> None:
    verdict = first_verdict(scored("challenger", up=BASE), gate(report=("median",)))
    assert (verdict.verdict, verdict.reasons) == (PROMOTE, ("first champion",))
    assert [each.champion for each in verdict.outcomes] == [None, None]


@given(
    st.lists(st.sampled_from([WON, NOT_WON, UNDECIDED]), min_size=1),
    st.lists(st.sampled_from([PASSED, LOST, UNDECIDED])),
)
@settings(max_examples=100, deadline=None)
def test_every_combination_has_one_verdict(improve: list[str], guard: list[str]) -> None:
    def row(role: str, outcome: str) -> Outcome:
        return Outcome(
            score="s", role=role, outcome=outcome, higher_is_better=True, champion=0.0, challenger=0.0, margin=0.1
        )

    rows = [row("improve", each) for each in improve] + [row("guard", each) for each in guard]
    verdict = verdict_of(rows)
    assert (verdict == PROMOTE) == (WON in improve and set(guard) <= {PASSED})
    assert (verdict == HOLD) == (LOST in guard or set(improve) == {NOT_WON})


def rates(num_runs: int, gain: float, guard_change: float, settings_: GateEntry) -> dict[str, float]:
    """Shares of verdicts over simulated runs of 30 samples."""
    counts: dict[str, int] = {}
    rng = np.random.default_rng(7)
    for _ in range(num_runs):
        base, own = rng.normal(0, 1, (2, 30))
        other = rng.normal(0, 0.3, 30)
        first = scored("champion", up=base, other=base, down=base)
        changes = {"up": gain, "other": guard_change, "down": -gain}
        second = scored(
            "challenger",
            **{
                name: base + change + 0.5 * own * (name != "other") + (name == "other") * other
                for name, change in changes.items()
            },
        )
        found = decide(first, second, settings_, Resampling(num_resamples=100)).verdict
        counts[found] = counts.get(found, 0) + 1
    return {name: count / num_runs for name, count in counts.items()}


def test_no_difference_is_promoted_in_at_most_one_run_of_twenty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metrics.shared.paired.NUM_FLIPS", 499)
    found = rates(200, 0.0, 0.0, gate(improve={"up": 0.0, "down": 0.0}))
    assert found.get(PROMOTE, 0) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 200)


def test_power_against_a_gain_beyond_the_margin(monkeypatch: pytest.MonkeyPatch) -> None:
    """The noise of the mean difference is 0.5 / sqrt(30); a one-sided test at 5% has nearly the normal's power."""
    monkeypatch.setattr("metrics.shared.paired.NUM_FLIPS", 499)
    distance = 0.25
    expected = 0.5 * math.erfc((1.645 - distance / (0.5 / math.sqrt(30))) / math.sqrt(2))
    found = rates(200, 0.1 + distance, 0.0, gate(guard={"other": 0.5}))
    assert found[PROMOTE] == pytest.approx(expected, abs=0.03 + 3 * math.sqrt(expected * (1 - expected) / 200))


def test_a_lost_guard_blocks_whatever_is_gained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metrics.shared.paired.NUM_FLIPS", 499)
    assert rates(60, 2.0, -1.0, gate(guard={"other": 0.5})) == {HOLD: 1.0}


def test_a_loss_of_the_margin_passes_a_guard_in_at_most_one_run_of_forty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metrics.shared.paired.NUM_FLIPS", 499)
    found = rates(200, 2.0, -0.5, gate(guard={"other": 0.5}))
    assert found.get(PROMOTE, 0) <= 0.05, "2.5%, and what a bootstrap interval of 30 samples falls short of it"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"improve": {"upp": 0.1}}, r"retrain\.gates\.g: e has no score 'upp' \(did you mean up\?\)"),
        ({"report": ("medean",)}, r"no score 'medean' \(did you mean median\?\)"),
        ({"guard": {"median": 1.0}}, r"median has no values per sample, so no test of it"),
        ({"guard": {"fd": 1.0}}, r"fd compares with the training split"),
        ({"report": ("fd",)}, r"fd compares with the training split"),
    ],
)
def test_scores_that_cannot_decide(changes: dict, message: str) -> None:
    own = scored("e", up=BASE, fd=(1.0, np.ones(5)))
    needs = {"quality": False, "distance": True}
    check_scores(gate(report=("median",)), own, "retrain.gates.g", needs)
    with pytest.raises(ValueError, match=message):
        check_scores(replace(gate(), **changes), own, "retrain.gates.g", needs)
