"""Decisions of gates."""

import json
from pathlib import Path

import pytest

from pipelines.shared.reporting.gates import decisions
from tests.pipelines.shared.reporting import world


def test_a_decision_with_both_galleries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path("scores/gates")
    world.write_gate(folder / "main")
    (found,) = decisions(folder, ["main", "never-decided"])
    assert found.document["verdict"] == "promote"
    ((champion, challenger),) = found.shown
    assert champion["captions"] == challenger["captions"] == [world.HOSTILE]
    assert champion["picture"].startswith("data:image/webp;base64,")


def test_a_first_challenger_stands_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path("scores/gates")
    world.write_gate(folder / "main")
    (folder / "main" / "champion" / "gallery.json").unlink()
    (found,) = decisions(folder, ["main"])
    assert [len(items) for items in found.shown] == [1]


def test_a_file_of_another_format_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path("scores/gates")
    world.write_gate(folder / "main")
    path = folder / "main" / "gate.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format_version": 99}))
    with pytest.raises(ValueError, match="format version 99"):
        decisions(folder, ["main"])
