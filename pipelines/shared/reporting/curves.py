"""Training curves as inline SVG, readable without a script."""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

WIDTH, HEIGHT, MARGIN = 320, 140, 34
MAX_POINTS = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Curve:
    """One line of a plot: its name and (step, value) points, ready to draw."""

    name: str
    points: str
    last: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Plot:
    """A small line plot: curves in pixel coordinates and the labels of its axes."""

    curves: tuple[Curve, ...]
    low: float
    high: float
    last_step: int


def training_plot(history: Path, columns: Sequence[str] = ("train/loss", "val/loss")) -> Plot | None:
    """The plot of a run's `history.csv`, or None where it has no such column.

    Args:
        history: A CSV with a column `step`; empty cells are skipped.
        columns: The columns that are drawn, where present.
    """
    with history.open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    series = {name: _points(rows, name) for name in columns}
    series = {name: points for name, points in series.items() if points}
    if not series:
        return None
    values = [value for points in series.values() for _, value in points]
    low, high = min(values), max(values)
    last_step = max(step for points in series.values() for step, _ in points)
    return Plot(
        curves=tuple(
            Curve(name=name, points=_path(points, low, high, last_step), last=points[-1][1])
            for name, points in series.items()
        ),
        low=low,
        high=high,
        last_step=last_step,
    )


def _points(rows: Sequence[dict[str, str]], name: str) -> list[tuple[int, float]]:
    points = [(int(row["step"]), float(row[name])) for row in rows if row.get(name)]
    finite = [(step, value) for step, value in points if math.isfinite(value)]
    stride = -(-len(finite) // MAX_POINTS) or 1
    return finite[::stride]


def _path(points: Sequence[tuple[int, float]], low: float, high: float, last_step: int) -> str:
    def place(step: int, value: float) -> str:
        x = MARGIN + (WIDTH - MARGIN - 4) * step / max(last_step, 1)
        y = 8 + (HEIGHT - 28) * (1 - (value - low) / ((high - low) or 1))
        return f"{x:.1f},{y:.1f}"

    return " ".join(place(step, value) for step, value in points)
