import datetime
import json
from pathlib import Path

import pytest

from pipelines.shared import recording
from pipelines.shared.recording import RECORDS, append_records, read_records

DAY = datetime.date(2026, 1, 2)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(recording, "revision", lambda: "abc")
    for name, model in (("one", "m"), ("scale", "")):
        write(tmp_path / "scores" / f"{name}.json", {"evaluation": name, "model": model, "scores": {"psnr": 0.1}})
    write(tmp_path / "timings" / "m.json", {"seconds": 12.5, "samples_per_sec": 3})
    write(tmp_path / "runs" / "m" / "config.json", {"environment": {"device": "cpu"}})
    return tmp_path


def write(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def append(project: Path, day: datetime.date = DAY) -> int:
    places = (project / name for name in ("scores", "timings", "runs"))
    return append_records(*places, ["one", "scale"], day)


def test_what_a_record_says(project: Path) -> None:
    assert append(project) == 2
    one, scale = read_records(project / "scores")
    document = one.pop("document")
    assert one == {"recorded": "2026-01-02", "revision": "abc", "train_seconds": 12.5, "device": "cpu"}
    assert document == json.loads((project / "scores" / "one.json").read_text())
    assert (scale["train_seconds"], scale["device"]) == (None, "")


def test_nothing_is_recorded_twice_and_nothing_is_lost(project: Path) -> None:
    append(project)
    first = (project / "scores" / RECORDS).read_bytes()
    assert append(project, DAY + datetime.timedelta(1)) == 0
    assert (project / "scores" / RECORDS).read_bytes() == first
    write(project / "scores" / "one.json", {"evaluation": "one", "model": "m", "scores": {"psnr": 0.2}})
    assert append(project, DAY + datetime.timedelta(1)) == 1
    assert (project / "scores" / RECORDS).read_bytes().startswith(first)
    assert [record["recorded"] for record in read_records(project / "scores")] == ["2026-01-02"] * 2 + ["2026-01-03"]


def test_a_score_that_was_not_made(project: Path) -> None:
    (project / "scores" / "scale.json").unlink()
    with pytest.raises(ValueError, match=r"scale\.json is missing: run `vignette evaluate scale`"):
        append(project)


def test_a_damaged_line_is_named_and_nothing_is_written(project: Path) -> None:
    append(project)
    path = project / "scores" / RECORDS
    path.write_bytes(path.read_bytes()[:-9] + b"\n")
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"records\.jsonl:2 is not a record: Unterminated|is not a record: Expecting"):
        append(project)
    assert path.read_bytes() == before


def test_no_records_yet(tmp_path: Path) -> None:
    assert read_records(tmp_path) == []


def test_the_revision_is_this_repositorys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert len(recording.revision()) == 40
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    assert recording.revision() == ""
