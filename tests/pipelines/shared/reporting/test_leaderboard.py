"""The leaderboard's rows and files."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from metrics.shared.bootstrap import Resampling
from pipelines.shared.comparing import Scored
from pipelines.shared.reporting.comparable import comparable
from pipelines.shared.reporting.leaderboard import (
    FIELDS,
    Board,
    csv_text,
    leaderboard_rows,
    markdown,
    mixture,
    named,
    ranked,
    shown,
    write_leaderboard,
)
from pipelines.shared.reporting.standing import standings
from pipelines.shared.reporting.trainings import Training
from tests.pipelines.shared.reporting.world import FD, LITE0, RECALL, scored

TRAINING = Training(
    pack="web",
    captions={"web": 1, "human": 0.5},
    num_samples=5,
    num_parameters=1234,
    num_trained_parameters=234,
    samples_seen=40,
    seconds=12.5,
    device="cpu",
)
OLD_FIELDS = (
    "model module pack test_pack metric detector value low high interval higher_is_better n seed model_sha256 "
    "pack_sha256 evaluation"
)


def boards_of(*models: Scored) -> list[Board]:
    resampling = Resampling(num_resamples=100)
    return [Board(group=group, standings=standings(group, resampling)) for group in comparable(models)]


def rows_of(*models: Scored, columns: tuple[str, ...] = (), **trainings: Training) -> list[dict[str, Any]]:
    names = {each.document[name] for each in models for name in ("model", "judge")} - {""}
    return leaderboard_rows(boards_of(*models), columns, dict.fromkeys(names, TRAINING) | trainings)


def test_best_first_in_both_directions() -> None:
    rows = rows_of(scored("a", recall=0.2, fd=1.0), scored("b", recall=0.8, fd=2.0), columns=(RECALL,))
    assert [(row["metric"], row["model"]) for row in rows[:4]] == [(RECALL, "b"), (RECALL, "a"), (FD, "a"), (FD, "b")]
    assert set(rows[0]) == set(FIELDS)


def test_fields_are_only_appended() -> None:
    assert FIELDS[: len(OLD_FIELDS.split())] == tuple(OLD_FIELDS.split()), "readers of the CSV count on these"


def test_a_row_has_its_rank_training_and_name() -> None:
    first, second = rows_of(scored("a", recall=0.2), scored("b", recall=0.8), columns=(RECALL,))[:2]
    assert (first["rank_low"], first["rank_high"], first["tie_group"]) == (1, 1, 1)
    assert (second["rank_low"], second["rank_high"], second["tie_group"]) == (2, 2, 2)
    assert first["smallest_detectable"] > 0
    assert first["row"] == f"b/{RECALL}", "what `vignette replay` takes"
    assert first["captions"] == "web 1, human 0.5"
    assert (first["samples_seen"], first["train_seconds"], first["device"]) == (40, 12.5, "cpu")


def test_references_come_last_and_have_no_rank() -> None:
    noise = scored("noise", recall=1.0, about={"model": "", "reference": "shuffled", "trained_on": ""})
    rows = rows_of(noise, scored("a", recall=0.2), scored("b", recall=0.8), columns=(RECALL,))[:3]
    assert [row["evaluation"] for row in rows] == ["b", "a", "noise"], "though its value is the best one"
    assert rows[2]["rank_low"] is rows[2]["tie_group"] is rows[2]["train_seconds"] is None
    assert named(rows[2]) == "noise (reference: shuffled)"


def test_different_protocols_are_not_mixed() -> None:
    other = scored("other", recall=0.5, about={"samples_sha256": "d" * 64})
    rows = rows_of(other, scored("a", recall=0.2), scored("b", recall=0.8), columns=(RECALL,))[:3]
    assert [row["evaluation"] for row in rows] == ["b", "a", "other"], "0.5 on other samples is not between the two"
    assert rows[0]["protocol_sha256"] == rows[1]["protocol_sha256"] != rows[2]["protocol_sha256"]
    assert rows[2]["rank_low"] is None


def test_a_detector_that_took_part_marks_the_row() -> None:
    training = Training(
        pack="web",
        captions={},
        num_samples=5,
        num_parameters=1,
        num_trained_parameters=1,
        samples_seen=1,
        packaged={"p/file": LITE0},
    )
    rows = rows_of(scored("a"), scored("b"), a=training)
    assert {(row["metric"], row["model"]) for row in rows if row["marked"]} == {(FD, "a")}
    assert "[1] the detector lite0" in markdown(rows)


def test_csv_is_inert_and_complete() -> None:
    rows = rows_of(scored("=cmd", recall=1.0), columns=(RECALL,))
    parsed = list(csv.DictReader(io.StringIO(csv_text(rows))))
    assert parsed[0]["model"] == "'=cmd"
    assert parsed[0]["row"] == f"'=cmd/{RECALL}"
    assert float(parsed[0]["value"]) == 1.0
    assert parsed[0]["rank_low"] == "", "not compared"


@pytest.mark.parametrize("digest", ["model_sha256", "pack_sha256"])
def test_a_row_that_nobody_can_trace_is_refused(digest: str) -> None:
    with pytest.raises(ValueError, match=f"scores of clip lack {digest}: run `vignette evaluate clip`"):
        rows_of(scored("clip", about={digest: ""}))


def test_scores_of_other_weights_than_the_run_has_now_are_not_shown_as_current() -> None:
    own = scored("clip")
    current = replace(TRAINING, runs={"clip": own.document["model_sha256"]})
    assert not any("out of date" in row["marked"] for row in rows_of(own, clip=current))
    rows = rows_of(own, clip=replace(TRAINING, runs={"clip": "9" * 64}))
    assert all(row["marked"].startswith("out of date: the run has other weights now") for row in rows)
    assert "] out of date" in markdown(rows)


def test_markdown_escapes_pipes() -> None:
    line = markdown(rows_of(scored("a|b"))).splitlines()[2]
    assert "a\\|b" in line


def test_evaluations_of_one_model_are_told_apart() -> None:
    ddim = scored("ddim", fd=1.0, about={"model": "ddpm"})
    lines = markdown(rows_of(ddim, scored("ddpm"), columns=(FD,))).splitlines()
    assert [line.split(" | ")[1] for line in lines[2:4]] == ["ddpm (ddim)", "ddpm"]


def test_files(tmp_path: Path) -> None:
    rows = rows_of(scored("a"))
    write_leaderboard(tmp_path, rows)
    assert {path.name for path in tmp_path.iterdir()} == {"leaderboard.json", "leaderboard.csv", "leaderboard.md"}
    assert json.loads((tmp_path / "leaderboard.json").read_text()) == rows


@pytest.mark.parametrize(("low", "high", "text"), [(None, None, ""), (1, 1, "1"), (2, 5, "2 to 5")])
def test_rank_intervals(low: int | None, high: int | None, text: str) -> None:
    assert ranked({"rank_low": low, "rank_high": high}) == text


def test_numbers_and_mixtures() -> None:
    assert [shown(value) for value in (0.123456, 1e-15, -2.0, 12345.6)] == ["0.1235", "0", "-2", "1.235e+04"]
    assert mixture({}) == ""
