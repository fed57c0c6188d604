"""How scores of an evaluation went over its records: a table, and a small plot of the values with their intervals."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from metrics.shared.protocol import differences
from pipelines.shared.comparing import Scored

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 320, 110, 44, 12, 12, 12


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """One record of a score.

    Attributes:
        recorded: Day of the record.
        revision: Commit; empty where it is not known.
        value: The score.
        low: Lower end of its 95% interval.
        high: Upper end.
        n: Number of samples.
        differs: Fields of the protocol in which the record before differs: the two are not comparable.
        x: Place in the plot.
        y: Of the value.
        y_low: Of the lower end.
        y_high: Of the upper end.
    """

    recorded: str
    revision: str
    value: float
    low: float
    high: float
    n: int
    differs: tuple[str, ...]
    x: float
    y: float
    y_low: float
    y_high: float


@dataclass(frozen=True, kw_only=True, slots=True)
class History:
    """The records of one score of one evaluation.

    Attributes:
        evaluation: Its key.
        score: Name of the score.
        points: The oldest first.
        lines: Polylines through comparable points, in pixels of the plot.
        low: Value at the lower end of the plot.
        high: Value at its upper end.
    """

    evaluation: str
    score: str
    points: Sequence[Point]
    lines: Sequence[str]
    low: float
    high: float


def histories(
    records: Sequence[Mapping[str, Any]], evaluations: Iterable[str], columns: Sequence[str]
) -> dict[str, list[History]]:
    """Histories by evaluation, of scores with at least two records.

    Args:
        records: Of the leaderboard, the oldest first.
        evaluations: Which are shown.
        columns: Which scores, in order.
    """
    found = {}
    for key in evaluations:
        own = [record for record in records if record["document"]["evaluation"] == key]
        having = {name: [record for record in own if name in record["document"]["scores"]] for name in columns}
        plots = [_history(key, name, recorded) for name, recorded in having.items() if len(recorded) > 1]
        if plots:
            found[key] = plots
    return found


def _history(key: str, score: str, records: Sequence[Mapping[str, Any]]) -> History:
    values = [record["document"]["scores"][score] for record in records]
    low, high = min(value["low"] for value in values), max(value["high"] for value in values)
    protocols = [Scored(key=key, document=record["document"], values={}).protocol(score) for record in records]

    def height(value: float) -> float:
        return round(TOP + (HEIGHT - TOP - BOTTOM) * (1 - (value - low) / ((high - low) or 1)), 1)

    points = [
        Point(
            recorded=record["recorded"],
            revision=record["revision"],
            **{name: value[name] for name in ("value", "low", "high", "n")},
            differs=differences(protocols[place - 1], protocols[place]) if place else (),
            x=round(LEFT + (WIDTH - LEFT - RIGHT) * place / (len(records) - 1), 1),
            y=height(value["value"]),
            y_low=height(value["low"]),
            y_high=height(value["high"]),
        )
        for place, (record, value) in enumerate(zip(records, values, strict=True))
    ]
    return History(evaluation=key, score=score, points=points, lines=_lines(points), low=low, high=high)


def _lines(points: Sequence[Point]) -> list[str]:
    """A new line where two neighbours are not comparable."""
    lines: list[list[str]] = [[]]
    for point in points:
        if point.differs:
            lines.append([])
        lines[-1].append(f"{point.x},{point.y}")
    return [" ".join(line) for line in lines if len(line) > 1]
