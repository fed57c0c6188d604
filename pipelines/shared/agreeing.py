"""Scores of two builds, one by one: equal, other by rounding, inside the published interval, or beyond it.

Only values of one protocol are compared: estimator, detector, counts, seeds, and the test samples with their pixels.
The judge's weights are no part of it here: they were trained again, as all models were, so that what a judge of other
last bits does to a score is a part of what is asked.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from metrics.shared.protocol import differences

EQUAL, ROUNDING, INSIDE, BEYOND = "equal", "rounding", "inside", "beyond"
OTHER_PROTOCOL, ONLY_PUBLISHED, ONLY_HERE = "other protocol", "only published", "only here"
OUTCOMES = (EQUAL, ROUNDING, INSIDE, BEYOND, OTHER_PROTOCOL, ONLY_PUBLISHED, ONLY_HERE)
RELATIVE, ABSOLUTE = 1e-6, 1e-12
"""Rounding: value and both ends of the interval differ by at most one millionth of themselves, which is what float32
sums in another order do, or by what is left of a zero."""
SHARED = ("samples_sha256", "image_px", "seed", "reference", "module", "trained_on", "pack")
"""Fields of a document that two values must have in common besides the metric's protocol."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreement:
    """One score of two builds.

    Attributes:
        row: `<evaluation>/<score>`.
        outcome: One of `OUTCOMES`.
        published: The published value; None where there is none.
        low: Lower end of its 95% interval.
        high: Upper end.
        here: The value of the other build; None where there is none.
        differs: Fields of the protocol that differ.
    """

    row: str
    outcome: str
    published: float | None = None
    low: float | None = None
    high: float | None = None
    here: float | None = None
    differs: tuple[str, ...] = ()

    @property
    def difference(self) -> float | None:
        """The other build's value minus the published one; None where they are not compared."""
        if self.published is None or self.here is None or self.differs:
            return None
        return self.here - self.published

    @property
    def share(self) -> float:
        """The difference in half-widths of the published interval; infinite where that has no width."""
        difference, half = abs(self.difference or 0.0), ((self.high or 0.0) - (self.low or 0.0)) / 2
        return difference / half if half else math.inf if difference else 0.0


def agreements(published: Mapping[str, Any] | None, here: Mapping[str, Any] | None) -> list[Agreement]:
    """All scores of one evaluation, sorted by name.

    Args:
        published: Its document `scores/<key>.json` of the published build; None if that has none.
        here: Of the other build.
    """
    one, other = (document["scores"] if document else {} for document in (published, here))
    key = (published or here or {}).get("evaluation", "")
    return [_agreement(f"{key}/{name}", name, published, here) for name in sorted(one.keys() | other.keys())]


def is_rounding(first: float, second: float) -> bool:
    """Whether two numbers differ by no more than rounding."""
    return math.isclose(first, second, rel_tol=RELATIVE, abs_tol=ABSOLUTE)


def count(found: Sequence[Agreement]) -> dict[str, int]:
    """How many scores have each outcome, in the order of `OUTCOMES`."""
    outcomes = [each.outcome for each in found]
    return {outcome: outcomes.count(outcome) for outcome in OUTCOMES}


def _agreement(row: str, name: str, published: Mapping[str, Any] | None, here: Mapping[str, Any] | None) -> Agreement:
    one = (published or {}).get("scores", {}).get(name)
    other = (here or {}).get("scores", {}).get(name)
    if one is None or published is None:
        return Agreement(row=row, outcome=ONLY_HERE, here=other["value"] if other else None)
    ends = {"published": one["value"], "low": one["low"], "high": one["high"]}
    if other is None or here is None:
        return Agreement(row=row, outcome=ONLY_PUBLISHED, **ends)
    fields = differences(_protocol(published, name), _protocol(here, name))
    outcome = OTHER_PROTOCOL if fields else _outcome(one, other)
    return Agreement(row=row, outcome=outcome, here=other["value"], differs=fields, **ends)


def _outcome(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    pairs = [(one[field], other[field]) for field in ("value", "low", "high")]
    if all(first == second for first, second in pairs):
        return EQUAL
    if all(is_rounding(first, second) for first, second in pairs):
        return ROUNDING
    return INSIDE if one["low"] <= other["value"] <= one["high"] else BEYOND


def _protocol(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    metric = next(metric for metric, names in document["groups"].items() if name in names)
    shared = {field: document.get(field, "") for field in SHARED}
    return shared | document["protocols"][metric] | {"n": document["scores"][name]["n"]}
