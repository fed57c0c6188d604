import datetime
import json
import subprocess
from pathlib import Path

import pytest

from pipelines.shared import recording
from pipelines.shared.documents import write_sealed
from pipelines.shared.recording import (
    COMPARISON,
    RECORDS,
    append_records,
    read_comparison,
    read_records,
    write_comparison,
)

DAY = datetime.date(2026, 1, 2)
MACHINE = {"processor": "x"}


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
    return append_records(*places, ["one", "scale"], day, MACHINE)


def test_what_a_record_says(project: Path) -> None:
    assert append(project) == 2
    one, scale = read_records(project / "scores")
    document = one.pop("document")
    about = {"recorded": "2026-01-02", "revision": "abc", "machine": MACHINE}
    assert one == about | {"train_seconds": 12.5, "device": "cpu"}
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


def test_a_comparison_is_of_the_scores_that_it_was_made_for(project: Path) -> None:
    scores = project / "scores"
    assert read_comparison(scores) is None
    write_comparison(scores, {"line": "x"})
    assert read_comparison(scores) == {"line": "x"}
    write(scores / "one.json", {"evaluation": "one"})
    assert read_comparison(scores) is None, "of other scores than the present ones nothing is said"


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"format_version": 1, "documents": 3}'])
def test_a_damaged_comparison_is_named(project: Path, content: str) -> None:
    path = project / "scores" / COMPARISON
    write(path, "")
    path.write_text(content)
    with pytest.raises(ValueError, match=r"comparison\.json is not a comparison"):
        read_comparison(project / "scores")


def test_a_comparison_of_a_later_format(project: Path) -> None:
    write_sealed(project / "scores" / COMPARISON, {"format_version": 9, "documents": {}})
    with pytest.raises(ValueError, match="format version 9, this program reads 1"):
        read_comparison(project / "scores")


def test_git_takes_the_comparison() -> None:
    root = Path(__file__).resolve().parents[3]
    words = ["git", "check-ignore", "--quiet", f"scores/{COMPARISON.as_posix()}"]
    assert subprocess.run(words, cwd=root, check=False).returncode == 1, "no pattern of .gitignore fits its name"
