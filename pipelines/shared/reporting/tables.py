"""The leaderboard's tables as the page shows them: a table for each metric and protocol, models above references."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from metrics.shared.protocol import differences
from pipelines.shared.reporting.leaderboard import Board
from pipelines.shared.reporting.standing import Standing

SAMPLES = "samples_sha256"


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """A row of a table.

    Attributes:
        about: Any leaderboard row of the evaluation: what they have in common.
        cells: Leaderboard rows by score.
        note: Number of its footnote, from 1; 0 for none.
    """

    about: Mapping[str, Any]
    cells: Mapping[str, Mapping[str, Any]]
    note: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A table of the page.

    Attributes:
        number: From 1, for links.
        metric: The metric.
        differs: Fields of the protocol in which the first table of the metric differs, with the value there and here,
            other samples first; none for the first table.
        columns: Scores with their standings, in order.
        models: Rows by evaluation.
        references: The same of what gives them a scale.
        notes: Footnotes.
    """

    number: int
    metric: str
    differs: tuple[tuple[str, str, str], ...]
    columns: Mapping[str, Standing]
    models: tuple[Line, ...]
    references: tuple[Line, ...]
    notes: tuple[str, ...]


def tables(boards: Sequence[Board], rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> list[Table]:
    """Tables of the scores that are shown.

    Args:
        boards: All boards.
        rows: All leaderboard rows.
        columns: Names of the scores to show, in order.

    Returns:
        In the order of their first columns; tables of one metric stand together, the one with most models first.
    """
    cells = {row["row"]: row for row in rows}
    shown = [(board, [name for name in columns if name in board.standings]) for board in boards]
    shown = [(board, names) for board, names in shown if names]
    first: dict[str, int] = {}
    for board, names in shown:
        place = columns.index(names[0])
        first[board.group.metric] = min(place, first.get(board.group.metric, place))
    result: list[Table] = []
    main: dict[str, Board] = {}
    for board, names in sorted(shown, key=lambda item: (first[item[0].group.metric], item[0].group.metric)):
        against = main.setdefault(board.group.metric, board)
        result.append(_table(len(result) + 1, board, against, {name: board.standings[name] for name in names}, cells))
    return result


def _table(
    number: int,
    board: Board,
    main: Board,
    columns: Mapping[str, Standing],
    cells: Mapping[str, Mapping[str, Any]],
) -> Table:
    notes: dict[str, int] = {}

    def line(key: str) -> Line:
        own = {name: cells[f"{key}/{name}"] for name in columns if f"{key}/{name}" in cells}
        about = next(iter(own.values()))
        note = notes.setdefault(about["marked"], len(notes) + 1) if about["marked"] else 0
        return Line(about=about, cells=own, note=note)

    def having(keys: Sequence[str]) -> tuple[Line, ...]:
        return tuple(line(key) for key in keys if any(f"{key}/{name}" in cells for name in columns))

    ours, theirs = board.group.protocol, main.group.protocol
    return Table(
        number=number,
        metric=board.group.metric,
        differs=tuple(
            (field, _short(theirs.get(field, "")), _short(ours.get(field, "")))
            for field in sorted(differences(theirs, ours), key=_weight)
        ),
        columns=columns,
        models=having([each.key for each in board.group.models]),
        references=having([each.key for each in board.group.references]),
        notes=tuple(notes),
    )


def _weight(field: str) -> tuple[bool, bool, str]:
    """Samples first, and last what follows from their number."""
    return field != SAMPLES, field.endswith("_chance"), field


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 24 else f"{text[:24]}…"
