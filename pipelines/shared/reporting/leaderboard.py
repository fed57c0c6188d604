"""The leaderboard as rows, and as Markdown, CSV and JSON.

One row per evaluation and score: model, pack that it was trained on, metric, detector, value, 95% interval, sample
count, seed and digests.
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.shared.files import write_bytes, write_json

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
)
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
SIGNIFICANT_DIGITS = 4
ROUNDING = 1e-12


def load_scores(folder: Path, evaluations: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Score documents by evaluation, in the order given.

    Raises:
        ValueError: An evaluation has not been run.
    """
    documents = {}
    for key in evaluations:
        path = folder / f"{key}.json"
        if not path.is_file():
            raise ValueError(f"{path} is missing: run `vignette evaluate {key}`")
        documents[key] = json.loads(path.read_bytes())
    return documents


def leaderboard_rows(documents: Mapping[str, Mapping[str, Any]], columns: Sequence[str]) -> list[dict[str, Any]]:
    """All rows: scores named in `columns` first and in that order, within a score the best value first."""
    rows = [
        _row(document, group, name)
        for document in documents.values()
        for group, names in document["groups"].items()
        for name in names
    ]
    order = {name: place for place, name in enumerate(columns)}

    def place(row: Mapping[str, Any]) -> tuple[Any, ...]:
        best_first = -row["value"] if row["higher_is_better"] else row["value"]
        return order.get(row["metric"], len(order)), row["metric"], best_first, row["evaluation"]

    return sorted(rows, key=place)


def _row(document: Mapping[str, Any], group: str, name: str) -> dict[str, Any]:
    score = document["scores"][name]
    return {
        "model": document["model"],
        "module": document["module"],
        "pack": document["trained_on"],
        "test_pack": document["pack"],
        "metric": name,
        "detector": document["protocols"][group]["detector"],
        **{field: score[field] for field in ("value", "low", "high", "interval", "higher_is_better", "n")},
        "seed": document["seed"],
        "model_sha256": document["model_sha256"],
        "pack_sha256": document["pack_sha256"],
        "evaluation": document["evaluation"],
    }


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
    writer.writerows({name: inert(row[name]) for name in FIELDS} for row in rows)
    return handle.getvalue()


def inert(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA_STARTS) else value


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """A Markdown table of the main fields."""
    lines = ["| metric | model | trained on | value | 95% interval | n | detector |", "|---|---|---|--:|---|--:|---|"]
    for row in rows:
        interval = f"{shown(row['low'])} to {shown(row['high'])}"
        texts = [row["metric"], named(row), row["pack"], shown(row["value"]), interval, row["n"], row["detector"]]
        lines.append(f"| {' | '.join(str(text).replace('|', chr(92) + '|') for text in texts)} |")
    return "\n".join([*lines, ""])


def named(row: Mapping[str, Any]) -> str:
    """The model, and the evaluation where it is not called like the model: one of several of it."""
    return row["model"] if row["evaluation"] == row["model"] else f"{row['model']} ({row['evaluation']})"


def shown(value: float) -> str:
    """A number as a reader wants it: four significant digits, and what rounding left of a zero as zero."""
    if abs(value) < ROUNDING:
        return "0"
    return f"{value:.{SIGNIFICANT_DIGITS}g}"
