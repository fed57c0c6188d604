"""How the build compares with the one that was published before it, from what `vignette record` kept in `scores/`.

The report reads neither git nor the machine: the same scores give the same page. What was kept for other scores than
the present ones is left out.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.shared.recording import read_comparison

MAX_SCORES = 20
MOVED = ("beyond", "inside", "other protocol")


@dataclass(frozen=True, kw_only=True, slots=True)
class Reproduction:
    """What the page shows.

    Attributes:
        line: The whole in a line.
        revision: Commit of the published build.
        day: Its day.
        stages: Names of stages by outcome.
        different: Entries of the different ones.
        counts: How many scores have each outcome.
        moved: Entries of the scores that moved by more than rounding, the furthest first, at most `MAX_SCORES`.
        num_moved: How many there are.
        machines: For each machine that scores were published from, facts of it and of this one that differ.
    """

    line: str
    revision: str
    day: str
    stages: Mapping[str, Sequence[str]]
    different: Sequence[Mapping[str, Any]]
    counts: Mapping[str, int]
    moved: Sequence[Mapping[str, Any]]
    num_moved: int
    machines: Sequence[Sequence[Mapping[str, str]]]


def reproduction(scores: Path) -> Reproduction | None:
    """What was kept in the folder of scores; None if nothing was that speaks of the present ones.

    Raises:
        ValueError: The file is damaged.
    """
    document = read_comparison(scores)
    if document is None:
        return None
    stages: dict[str, list[str]] = {}
    for stage in document["stages"]:
        stages.setdefault(stage["outcome"], []).append(stage["name"])
    outcomes = [score["outcome"] for score in document["scores"]]
    moved = sorted((score for score in document["scores"] if score["outcome"] in MOVED), key=_furthest_first)
    return Reproduction(
        line=document["line"],
        revision=document["revision"],
        day=document["day"],
        stages=stages,
        different=[stage for stage in document["stages"] if stage["outcome"] == "different"],
        counts={outcome: outcomes.count(outcome) for outcome in dict.fromkeys(outcomes)},
        moved=moved[:MAX_SCORES],
        num_moved=len(moved),
        machines=document["machines"],
    )


def _furthest_first(score: Mapping[str, Any]) -> tuple[int, float, str]:
    """By outcome, then by half-widths of the published interval."""
    share = 0.0
    if not score["differs"]:
        half, difference = (score["high"] - score["low"]) / 2, abs(score["here"] - score["published"])
        share = difference / half if half else math.inf
    return MOVED.index(score["outcome"]), -share, score["row"]
