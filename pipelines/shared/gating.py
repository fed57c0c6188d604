"""The gate: whether a challenger takes the champion's place, from the scores of both on the same samples.

Sources: Holm 1979, Scandinavian Journal of Statistics 6 (several improvements at once); Berger 1982, Technometrics 24
(intersection-union test: where all of several nulls must be rejected, each at the level, the whole has the level).

A score that shall improve is won if a one-sided test shows more than its margin, at 5% after Holm's correction, because
one of several is enough and each more is another chance. A guard is passed if the 95% interval of its gain (`gains`)
lies above minus its margin. Guards need no correction, because all of them must pass: another guard is another obstacle
and never another chance. So a challenger that is no better is promoted in at most 5% of runs, and one that loses a
guard's margin in at most 2.5%.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from metrics.shared.bootstrap import Resampling
from metrics.shared.paired import LEVEL, holm
from pipelines.shared.comparing import LEFT_OUT, Scored, compare
from pipelines.shared.gains import MAX_SAMPLES_NEEDED, Gain, gain_of
from pipelines.shared.gate_settings import GateEntry
from pipelines.shared.params import suggestion

PROMOTE, HOLD, INCONCLUSIVE, INVALID = "promote", "hold", "inconclusive", "invalid"
WON, NOT_WON, PASSED, LOST, UNDECIDED, SHOWN = "won", "not won", "passed", "lost", "undecided", "shown"


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What was found of one score; differences count as gains, in the direction in which the score is better.

    Attributes:
        score: Its name.
        role: `improve`, `guard` or `report`.
        outcome: `won` or `not won` (shown not to gain the margin); `passed` or `lost`; `undecided`; `shown`.
        higher_is_better: Direction of improvement.
        champion: Its value; None where there is no champion.
        challenger: Its value.
        margin: Of the gate; None for `report`.
        gain: How much better the challenger is.
        low: Lower end of the 95% interval of the gain; None, as are those below, where a value has no paired test.
        high: Upper end.
        p_value: Of "the gain is at most the margin", after Holm's correction; of `improve` only.
        n: Independent units, which are test samples.
        smallest_detectable: Difference that would be found with a probability of 80%.
        samples_needed: Units that would decide it with a probability of 80%, where it is undecided; at most
            `MAX_SAMPLES_NEEDED`, None for more or where no number would do.
        note: Why it could not be compared.
    """

    score: str
    role: str
    outcome: str
    higher_is_better: bool
    champion: float | None
    challenger: float
    margin: float | None = None
    gain: float | None = None
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    n: int | None = None
    smallest_detectable: float | None = None
    samples_needed: int | None = None
    note: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What the gate decided.

    Attributes:
        verdict: `promote`, `hold`, `inconclusive` or `invalid`.
        reasons: Why, a sentence each.
        outcomes: Of each score.
    """

    verdict: str
    reasons: tuple[str, ...]
    outcomes: tuple[Outcome, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "verdict": self.verdict,
            "reasons": list(self.reasons),
            "outcomes": [asdict(outcome) for outcome in self.outcomes],
        }


def decide(champion: Scored, challenger: Scored, gate: GateEntry, resampling: Resampling) -> Verdict:
    """The verdict on a challenger.

    It is `invalid` if a score that decides cannot be compared or is not finite; `hold` if a guard is lost, or every
    score that shall improve is shown not to gain its margin; `promote` if one of them is won and every guard passed;
    else `inconclusive`, with the number of samples that would decide.

    Args:
        champion: Its scores.
        challenger: Its scores, on the same samples, by the same judge.
        gate: The gate's settings.
        resampling: Of intervals and tests.
    """
    gains: dict[str, Gain | None] = {}
    reasons, notes = [], {}
    for score in gate.scores:
        try:
            _check_finite((champion, challenger), score)
            gains[score] = gain_of(champion, challenger, score, resampling)
        except ValueError as error:
            notes[score] = str(error)
            if score not in gate.report:
                reasons.append(f"{score}: {error}")
    if reasons:
        return Verdict(verdict=INVALID, reasons=tuple(reasons))
    outcomes = _improvements(gate.improve, gains) | _guards(gate.guard, gains)
    described = tuple(
        _outcome(gate, score, (champion, challenger), gains.get(score), outcomes.get(score, {}), notes.get(score, ""))
        for score in gate.scores
    )
    return Verdict(verdict=verdict_of(described), reasons=_reasons(described), outcomes=described)


def first_verdict(challenger: Scored, gate: GateEntry) -> Verdict:
    """Of a challenger where there is no champion: its scores are shown, and nothing stands in its way."""
    outcomes = []
    for score in gate.scores:
        try:
            _check_finite((challenger,), score)
        except ValueError as error:
            return Verdict(verdict=INVALID, reasons=(f"{score}: {error}",))
        outcomes.append(_outcome(gate, score, (None, challenger), None, {}, ""))
    return Verdict(verdict=PROMOTE, reasons=("first champion",), outcomes=tuple(outcomes))


def check_scores(gate: GateEntry, scored: Scored, where: str, needs_training: Mapping[str, bool]) -> None:
    """Check that a gate can decide by its scores.

    Args:
        gate: Its settings.
        scored: An evaluation by the settings that the gate names.
        where: Place of the gate in `params.yaml`.
        needs_training: For each metric whether it compares with the training split.

    Raises:
        ValueError: A score does not exist, or none can be tested where one must.
    """
    known = scored.document["scores"]
    for score in gate.scores:
        if score not in known:
            there = ", ".join(sorted(known))
            raise ValueError(
                f"params.yaml: {where}: {scored.key} has no score {score!r}{suggestion(score, known)}; it has {there}"
            )
        if needs_training[scored.metric(score)]:
            raise ValueError(
                f"params.yaml: {where}: {score} compares with the training split, of which a champion and its "
                "challenger have one each: no gate can compare them"
            )
    for score in (*gate.improve, *gate.guard):
        if compare(scored, scored, score, Resampling(num_resamples=100)) is None:
            raise ValueError(
                f"params.yaml: {where}: {score} has no values per sample, so no test of it: it can only be under report"
            )


def verdict_of(outcomes: Sequence[Outcome]) -> str:
    """`hold`, `promote` or `inconclusive`, from outcomes that are valid."""
    improve = [each.outcome for each in outcomes if each.role == "improve"]
    guard = [each.outcome for each in outcomes if each.role == "guard"]
    if LOST in guard or all(outcome == NOT_WON for outcome in improve):
        return HOLD
    if WON in improve and all(outcome == PASSED for outcome in guard):
        return PROMOTE
    return INCONCLUSIVE


def samples_needed(outcomes: Sequence[Outcome]) -> int | None:
    """Units that would decide what stands in the way of a verdict.

    Returns:
        None where that is more than `MAX_SAMPLES_NEEDED`, or where no number would do.
    """
    needed = [each.samples_needed for each in _in_the_way(outcomes)]
    return None if None in needed else max((each for each in needed if each is not None), default=0)


def _in_the_way(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """What is undecided and matters: an improvement does not once another one is won."""
    roles = {"guard"} if any(each.outcome == WON for each in outcomes) else {"guard", "improve"}
    return [each for each in outcomes if each.outcome == UNDECIDED and each.role in roles]


def _improvements(margins: Mapping[str, float], gains: Mapping[str, Gain | None]) -> dict[str, dict[str, Any]]:
    found = {score: gains[score] for score in margins}
    adjusted = holm([gain.paired.p_above(margins[score]) for score, gain in found.items() if gain])
    result = {}
    for (score, gain), p_value in zip(found.items(), adjusted, strict=True):
        assert gain, f"{score} has no paired test"
        outcome = WON if p_value <= LEVEL else NOT_WON if gain.high < margins[score] else UNDECIDED
        result[score] = {"outcome": outcome, "p_value": p_value, "distance": gain.value - margins[score]}
    return result


def _guards(margins: Mapping[str, float], gains: Mapping[str, Gain | None]) -> dict[str, dict[str, Any]]:
    result = {}
    for score, margin in margins.items():
        gain = gains[score]
        assert gain, f"{score} has no paired test"
        outcome = PASSED if gain.low > -margin else LOST if gain.high < -margin else UNDECIDED
        result[score] = {"outcome": outcome, "distance": gain.value + margin}
    return result


def _outcome(
    gate: GateEntry,
    score: str,
    both: tuple[Scored | None, Scored],
    gain: Gain | None,
    found: Mapping[str, Any],
    note: str,
) -> Outcome:
    """The row of one score."""
    champion, challenger = both
    value = challenger.document["scores"][score]
    role = "improve" if score in gate.improve else "guard" if score in gate.guard else "report"
    test: dict[str, Any] = {}
    if gain:
        test = {"gain": gain.value, "low": gain.low, "high": gain.high, "n": gain.paired.n}
        test["smallest_detectable"] = gain.smallest_detectable
        if found.get("outcome") == UNDECIDED:
            test["samples_needed"] = gain.samples_needed(found["distance"])
    before = champion.document["scores"][score]["value"] if champion and score in champion.document["scores"] else None
    if not gain and before is not None and not note:
        test["gain"] = (value["value"] - before) * (1 if value["higher_is_better"] else -1)
    return Outcome(
        score=score,
        role=role,
        outcome=found.get("outcome", SHOWN),
        higher_is_better=value["higher_is_better"],
        champion=before,
        challenger=value["value"],
        margin={**gate.improve, **gate.guard}.get(score),
        p_value=found.get("p_value"),
        note=note,
        **test,
    )


def _reasons(outcomes: Sequence[Outcome]) -> tuple[str, ...]:
    """What led to the verdict."""
    verdict = verdict_of(outcomes)
    if verdict == HOLD:
        lost = [f"guard {each.score} is lost: {_interval(each)}" for each in outcomes if each.outcome == LOST]
        if lost:
            return tuple(lost)
        return tuple(
            f"{each.score} does not gain {each.margin:g}: {_interval(each)}"
            for each in outcomes
            if each.outcome == NOT_WON
        )
    if verdict == PROMOTE:
        return tuple(
            f"{each.score} gains more than {each.margin:g}: {_interval(each)}, p {each.p_value:.2g}"
            for each in outcomes
            if each.outcome == WON
        )
    undecided = tuple(f"{each.role} {each.score} is undecided: {_interval(each)}" for each in _in_the_way(outcomes))
    needed = samples_needed(outcomes)
    more = f"about {needed:,}" if needed else f"more than {MAX_SAMPLES_NEEDED:,}"
    return (*undecided, f"{more} test samples would decide")


def _interval(outcome: Outcome) -> str:
    assert outcome.gain is not None, "only compared scores decide"
    return f"gain {outcome.gain:+.4g} [{outcome.low:+.4g}, {outcome.high:+.4g}], n = {outcome.n}"


def _check_finite(both: Sequence[Scored], score: str) -> None:
    """Raise ValueError if a value, or one of those behind it, is not a number."""
    for scored in both:
        if score not in scored.document["scores"]:
            continue
        columns = {f"{scored.metric(score)}/{score}{suffix}" for suffix in ("", LEFT_OUT)}
        behind = [values for name, values in scored.values.items() if name in columns]
        value = scored.document["scores"][score]["value"]
        if not math.isfinite(value) or not all(np.isfinite(values).all() for values in behind):
            raise ValueError(f"{scored.key} has a value that is not finite")
