"""The leaderboard's rows and files."""

import csv
import io
from pathlib import Path

import pytest

from pipelines.shared.reporting.leaderboard import (
    FIELDS,
    csv_text,
    inert,
    leaderboard_rows,
    load_scores,
    markdown,
    write_leaderboard,
)


def document(evaluation: str, value: float, higher_is_better: bool = True) -> dict[str, object]:
    score = {"low": value - 1, "high": value + 1, "n": 9, "interval": "bootstrap", "higher_is_better": higher_is_better}
    return {
        "evaluation": evaluation,
        "model": evaluation,
        "module": "clip",
        "trained_on": "web",
        "pack": "web",
        "seed": 0,
        "model_sha256": "a" * 64,
        "pack_sha256": "b" * 64,
        "scores": {"fd": {"value": value, **score, "higher_is_better": False}, "recall": {"value": value, **score}},
        "groups": {"distance": ["fd"], "retrieval": ["recall"]},
        "protocols": {"distance": {"detector": "lite0"}, "retrieval": {"detector": ""}},
    }


def test_best_first_in_both_directions() -> None:
    rows = leaderboard_rows({"a": document("a", 1.0), "b": document("b", 2.0)}, ["recall"])
    assert [(row["metric"], row["model"]) for row in rows] == [
        ("recall", "b"),
        ("recall", "a"),
        ("fd", "a"),
        ("fd", "b"),
    ]
    assert set(rows[0]) == set(FIELDS)


def test_csv_is_inert_and_complete() -> None:
    rows = leaderboard_rows({"=cmd": document("=cmd", 1.0)}, [])
    parsed = list(csv.DictReader(io.StringIO(csv_text(rows))))
    assert parsed[0]["model"] == "'=cmd"
    assert float(parsed[0]["value"]) == 1.0
    assert inert(-1.5) == -1.5, "numbers stay numbers"


def test_markdown_escapes_pipes() -> None:
    line = markdown(leaderboard_rows({"a|b": document("a|b", 1.0)}, [])).splitlines()[2]
    assert "a\\|b" in line


def test_evaluations_of_one_model_are_told_apart() -> None:
    documents = {"ddim": document("ddim", 1.0) | {"model": "ddpm"}, "ddpm": document("ddpm", 2.0)}
    lines = markdown(leaderboard_rows(documents, ["fd"])).splitlines()
    assert [line.split(" | ")[1] for line in lines[2:4]] == ["ddpm (ddim)", "ddpm"]


def test_files(tmp_path: Path) -> None:
    write_leaderboard(tmp_path, leaderboard_rows({"a": document("a", 1.0)}, []))
    assert {path.name for path in tmp_path.iterdir()} == {"leaderboard.json", "leaderboard.csv", "leaderboard.md"}


def test_missing_evaluation(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="vignette evaluate clip"):
        load_scores(tmp_path, ["clip"])
