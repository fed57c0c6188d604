"""The leaderboard as rows, and as Markdown, CSV and JSON.

One row per evaluation and score: model, training, metric, detector, value, 95% interval, rank interval and tie group
among comparable models, sample count, seed, digests and cost. Rows of a metric are ranked together where their
`protocol_sha256` is equal, and only there.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.shared.comparing import Scored
from pipelines.shared.files import write_bytes, write_json
from pipelines.shared.inert_texts import csv_cell, markdown_cell
from pipelines.shared.reporting.comparable import Comparable, scores_of
from pipelines.shared.reporting.standing import Standing
from pipelines.shared.reporting.trainings import Training, mark

FIELDS = (
    "model",
    "module",
    "pack",
    "test_pack",
    "metric",
    "detector",
    "value",
    "low",
    "high",
    "interval",
    "higher_is_better",
    "n",
    "seed",
    "model_sha256",
    "pack_sha256",
    "evaluation",
    "rank_low",
    "rank_high",
    "tie_group",
    "smallest_detectable",
    "reference",
    "marked",
    "row",
    "protocol_sha256",
    "captions",
    "num_train_samples",
    "num_trained_parameters",
    "samples_seen",
    "train_seconds",
    "device",
)
SIGNIFICANT_DIGITS = 4
ROUNDING = 1e-12


@dataclass(frozen=True, kw_only=True)
class Board:
    """Comparable evaluations with the standings of their scores."""

    group: Comparable
    standings: Mapping[str, Standing]


def leaderboard_rows(
    boards: Sequence[Board], columns: Sequence[str], trainings: Mapping[str, Training]
) -> list[dict[str, Any]]:
    """All rows: scores named in `columns` first and in that order; of a score board by board, the best model first.

    Args:
        boards: All boards; references come after the models of theirs.
        columns: Names of scores.
        trainings: Of every model and judge, by the key of its run.
    """
    order = {name: place for place, name in enumerate(columns)}
    found = []
    for number, board in enumerate(boards):
        for each in board.group.members:
            for score in scores_of(each, board.group.metric):
                row = _row(board, each, score, trainings)
                best_first = -row["value"] if row["higher_is_better"] else row["value"]
                place = order.get(score, len(order)), score, number, row["reference"] != "", best_first, each.key
                found.append((place, row))
    return [row for _, row in sorted(found, key=lambda item: item[0])]


def _row(board: Board, scored: Scored, name: str, trainings: Mapping[str, Training]) -> dict[str, Any]:
    document, metric = scored.document, board.group.metric
    for digest in ("model_sha256", "pack_sha256"):
        if not document.get(digest):
            raise ValueError(f"scores of {scored.key} lack {digest}: run `vignette evaluate {scored.key}`")
    score = document["scores"][name]
    place = board.standings[name].places.get(scored.key)
    training = trainings[document["model"]] if document["model"] else None
    return {
        "model": document["model"],
        "module": document["module"],
        "pack": document["trained_on"],
        "test_pack": document["pack"],
        "metric": name,
        "detector": document["protocols"][metric]["detector"],
        **{field: score[field] for field in ("value", "low", "high", "interval", "higher_is_better", "n")},
        "seed": document["seed"],
        "model_sha256": document["model_sha256"],
        "pack_sha256": document["pack_sha256"],
        "evaluation": scored.key,
        "rank_low": place and place.best,
        "rank_high": place and place.worst,
        "tie_group": place and place.group,
        "smallest_detectable": board.standings[name].smallest_detectable if place else None,
        "reference": document["reference"],
        "marked": mark(scored, metric, training, trainings[document["judge"]]) if training else "",
        "row": f"{scored.key}/{name}",
        "protocol_sha256": board.group.sha256,
        "captions": mixture(training.captions) if training else "",
        "num_train_samples": training and training.num_samples,
        "num_trained_parameters": training and training.num_trained_parameters,
        "samples_seen": training and training.samples_seen,
        "train_seconds": training and training.seconds,
        "device": training.device if training else "",
    }


def mixture(captions: Mapping[str, float]) -> str:
    """A mixing ratio of captions in words: `web 1, human 1`."""
    return ", ".join(f"{origin} {weight:g}" for origin, weight in captions.items())


def write_leaderboard(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write `leaderboard.json`, `leaderboard.csv` and `leaderboard.md`."""
    write_json(folder / "leaderboard.json", list(rows))
    write_bytes(folder / "leaderboard.csv", csv_text(rows).encode())
    write_bytes(folder / "leaderboard.md", markdown(rows).encode())


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """CSV with a header; text that a spreadsheet would run as a formula is quoted by an apostrophe."""
    handle = io.StringIO()
    writer = csv.DictWriter(handle, FIELDS, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: csv_cell(row[name]) for name in FIELDS} for row in rows)
    return handle.getvalue()


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """A Markdown table of the main fields; reference rows in italics, marks as footnotes below.

    Rows of a metric were compared with each other where the beginnings of their protocols' digests are equal.
    """
    lines = [
        "| metric | model | trained on | value | 95% interval | rank | tie group | smallest detectable | n | detector "
        "| protocol |",
        "|---|---|---|--:|---|---|--:|--:|--:|---|---|",
    ]
    notes = {text: number for number, text in enumerate(dict.fromkeys(row["marked"] for row in rows if row["marked"]))}
    for row in rows:
        name = markdown_cell(named(row))
        texts = [
            markdown_cell(row["metric"]),
            (f"*{name}*" if row["reference"] else name) + (f" [{notes[row['marked']] + 1}]" if row["marked"] else ""),
            markdown_cell(row["pack"]),
            shown(row["value"]),
            f"{shown(row['low'])} to {shown(row['high'])}",
            ranked(row),
            "" if row["tie_group"] is None else row["tie_group"],
            "" if row["smallest_detectable"] is None else shown(row["smallest_detectable"]),
            row["n"],
            markdown_cell(row["detector"]),
            row["protocol_sha256"][:8],
        ]
        lines.append(f"| {' | '.join(map(str, texts))} |")
    return "\n".join([*lines, "", *(f"[{number + 1}] {markdown_cell(text)}" for text, number in notes.items()), ""])


def named(row: Mapping[str, Any]) -> str:
    """The model, and the evaluation where it is not called like the model: one of several of it; or the reference."""
    if row["reference"]:
        return f"{row['evaluation']} (reference: {row['reference']})"
    return row["model"] if row["evaluation"] == row["model"] else f"{row['model']} ({row['evaluation']})"


def ranked(row: Mapping[str, Any]) -> str:
    """The rank interval; empty where there is none."""
    if row["rank_low"] is None:
        return ""
    return str(row["rank_low"]) if row["rank_low"] == row["rank_high"] else f"{row['rank_low']} to {row['rank_high']}"


def shown(value: float) -> str:
    """A number as a reader wants it: four significant digits, and what rounding left of a zero as zero."""
    if abs(value) < ROUNDING:
        return "0"
    return f"{value:.{SIGNIFICANT_DIGITS}g}"
