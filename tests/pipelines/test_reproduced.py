"""The command on a real project of git and DVC: built, published, built again with other bytes, and not built."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from pipelines import reproduced
from pipelines.shared.agreeing import agreements
from pipelines.shared.machine import Difference
from pipelines.shared.recording import read_comparison
from pipelines.shared.reproducing import Comparison, Stage, keep_comparison, outcome_line
from tests.pipelines.shared.test_agreeing import document
from tests.pipelines.small_job import command, commit

DVC_YAML = """stages:
  crawl:
    foreach: ${sources}
    do: {cmd: "mkdir -p data/crawl/${key} && cat noise > data/crawl/${key}/shard && echo 1 > data/crawl/${key}/rows",
         outs: ["data/crawl/${key}"]}
  train:
    foreach: ${models}
    do: {cmd: "cat data/crawl/a/shard luck > runs-${key} && date +%N > timings/${key}.json", deps: [data/crawl/a],
         outs: ["runs-${key}"], metrics: ["timings/${key}.json"]}
  evaluate:
    foreach: ${evaluations}
    do: {cmd: "cp score.json scores/${key}.json && touch evidence", deps: ["runs-m"], outs: [evidence],
         metrics: ["scores/${key}.json": {cache: false}]}
"""
PARAMS = "sources: {a: {}, b: {}}\nmodels: {m: {}}\nevaluations: {e: {}}\n"
MACHINE = {"processor": "a processor of long ago", "python": "3.1.0", "libraries": {"torch": "0.0.1"}}


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that is built, recorded and committed."""
    folder = tmp_path_factory.mktemp("project")
    command(folder, "git", "init", "--quiet")
    command(folder, "dvc", "init", "--quiet")
    (folder / "dvc.yaml").write_text(DVC_YAML)
    (folder / "params.yaml").write_text(PARAMS)
    (folder / ".gitignore").write_text("/data\n/runs-*\n/timings\n/noise\n/luck\n/score.json\n/evidence\n")
    for name in ("timings", "scores"):
        (folder / name).mkdir()
    (folder / "noise").write_text("1")
    (folder / "luck").write_text("1")
    (folder / "score.json").write_text(json.dumps(document()))
    command(folder, "dvc", "repro", "--quiet")
    record = {"machine": MACHINE, "document": document()}
    (folder / "scores/records.jsonl").write_text(json.dumps(record) + "\n")
    commit(folder, "published")
    return folder


@pytest.fixture
def project(once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "project"
    shutil.copytree(once, folder, symlinks=True)
    monkeypatch.chdir(folder)
    return folder


def again(project: Path, *words: str) -> None:
    command(project, "dvc", "repro", "--quiet", "--force", "--no-run-cache", *words)


def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, *words: str) -> str:
    monkeypatch.setattr("sys.argv", ["vignette reproduced", *words])
    reproduced.main()
    return str(capsys.readouterr().out)


def test_a_build_that_came_out_as_published(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    again(project)
    text = said(monkeypatch, capsys, "--strict")
    assert text.splitlines()[-1].startswith("Reproduced (against ")
    assert text.endswith("4 of 4 stages equal; 1 scores: 1 equal.\n"), "the time that it took is not compared"
    assert "processor" in text and "a processor of long ago" in text and "torch" in text
    assert command(project, "git", "status", "--porcelain").split() == ["M", "dvc.lock"], "nothing is written"


def test_other_bytes_rounding_and_scores(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    Path("noise").write_text("2")
    again(project, "crawl@a")
    Path("score.json").write_text(json.dumps(document(0.9)))
    again(project, "--single-item", "train@m", "evaluate@e")
    text = said(monkeypatch, capsys)
    assert "crawl@a     FAULT: equal inputs, settings and code, other bytes" in text
    assert "data/crawl/a (1 of 2 files: shard)" in text
    assert "train@m     follows; from crawl@a" in text and "evaluate@e  follows; from train@m" in text
    assert "first to differ: crawl@a\n" in text
    assert "e/recall  0.5 [0.4, 0.6] -> 0.9 (+0.4)" in text
    assert text.splitlines()[-1].startswith("Not reproduced (against ")
    assert "1 of 4 stages equal, 3 differ (1 fault, 2 follows); 1 scores: 1 beyond." in text
    with pytest.raises(SystemExit, match="1"):
        said(monkeypatch, capsys, "--strict")
    capsys.readouterr()
    found = json.loads(said(monkeypatch, capsys, "--json", "HEAD"))
    assert found["verdict"] == "Not reproduced" and found["scores"][0]["difference"] == pytest.approx(0.4)
    assert keep_comparison(Path("scores"))
    kept = read_comparison(Path("scores"))
    assert kept and kept["line"] == found["line"] == outcome_line()


def test_not_built_changed_by_hand_and_no_longer_named(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    shutil.rmtree("data/crawl/a")
    Path("runs-m").chmod(0o644)
    Path("runs-m").write_text("by hand")
    Path("params.yaml").write_text(PARAMS.replace(", b: {}", ""))
    text = said(monkeypatch, capsys)
    assert "not built         2  crawl@a, train@m" in text
    assert "runs-m changed since it was built: `vignette repro` makes it again" in text
    assert "only published    1  crawl@b" in text


def test_a_clone_has_built_nothing(once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command(tmp_path, "git", "clone", "--quiet", str(once), "clone")
    monkeypatch.chdir(tmp_path / "clone")
    line = outcome_line()
    assert line.startswith("Nothing is built (against ") and line.endswith(": 0 of 4 stages equal, 4 not built.")


def test_what_cannot_be_compared_is_one_line(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["vignette reproduced", "v9"])
    with pytest.raises(SystemExit, match=r"^vignette reproduced: 'v9' is not a revision of this git repository$"):
        reproduced.main()


def test_long_lists_are_shortened_and_what_is_beyond_never_is() -> None:
    inside: list[Any] = [each for number in range(30) for each in agreements(document(), document(0.5 + number / 1000))]
    beyond = [each for _ in range(30) for each in agreements(document(), document(0.9))]
    stages = [Stage(name=f"pack@{number}", outcome="not built") for number in range(20)]
    other = Stage(name="x", outcome="different", cause="changed", changed=tuple(map(str, range(20))))
    found = Comparison(
        revision="a" * 40, day="", stages=[*stages, other], scores=[*inside, *beyond], machines=[[DIFFERENCE], []]
    )
    text = reproduced.table(found, {})
    assert text.count("e/recall") == reproduced.MAX_SHOWN + 30
    assert text.index("+0.029") < text.index("+0.028"), "the furthest first"
    assert "pack@7, 12 more" in text and "; 7; 12 more" in text
    assert "python   3.11.7     3.12.1" in text and "as those that the scores were published from" in text
    no_records = reproduced.table(dataclasses.replace(found, machines=[]), {})
    assert "the published records do not say" in no_records


DIFFERENCE = Difference(name="python", there="3.11.7", here="3.12.1")


def test_a_name_that_dvc_reads_differently_is_one_line(
    project: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    Path("params.yaml").write_text("sources: {my.site: {}}\n")
    monkeypatch.setattr("sys.argv", ["vignette reproduced"])
    with pytest.raises(SystemExit, match=r"vignette reproduced: params.yaml: sources: 'my.site' cannot be a name here"):
        reproduced.main()
    assert capfd.readouterr().err == "", "DVC is not asked"
