"""Builds read from a working tree and from git."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.shared.builds import NothingPublishedError, outputs, present_build, published_build
from tests.pipelines.small_job import command, commit

MD5 = "0123456789abcdef" * 2


def stage(*outs: str) -> dict[str, Any]:
    return {"cmd": "x", "outs": [{"path": path, "md5": MD5} for path in outs]}


def write(scores: dict[str, float]) -> None:
    """A project with a lock of two instances, one of which `params.yaml` no longer names, and scores."""
    Path("params.yaml").write_text(yaml.safe_dump({"sources": {"a": {}}, "evaluations": {"e": {}}}))
    Path("dvc.yaml").write_text(
        yaml.safe_dump({"stages": {"crawl": {"foreach": "${sources}", "do": {}}, "evaluate": {}, "report": {}}})
    )
    stages = {
        "crawl@a": stage("data/crawl/a"),
        "crawl@old": stage("data/crawl/old"),
        "gone": stage("data/gone"),
        "evaluate@e": stage("data/evaluate/e", "scores/e.json"),
    }
    Path("dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))
    for path in ("data/crawl/a", "data/evaluate/e", "scores"):
        Path(path).mkdir(parents=True, exist_ok=True)
    for name, value in scores.items():
        Path(f"scores/{name}.json").write_text(json.dumps({"evaluation": name, "scores": {"s": value}}))


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    command(tmp_path, "git", "init", "--quiet")
    return tmp_path


def test_only_what_is_named_belongs_to_a_build(project: Path) -> None:
    write({"e": 1.0})
    commit(project, "one")
    for build in (present_build(), published_build("HEAD")):
        assert build.stages.keys() == {"crawl@a", "evaluate@e"}
        assert build.names("crawl@a") and not build.names("crawl@old") and not build.names("gone")
    assert outputs(present_build().stages["crawl@a"]) == {"data/crawl/a": MD5}


def test_what_is_not_there_is_not_built(project: Path) -> None:
    write({"e": 1.0})
    shutil.rmtree("data/evaluate")
    build = present_build()
    assert build.missing == {"evaluate@e"}
    assert build.scores == {}, "a score that git has is no proof that it was made here"


def test_a_revision_is_read_from_git_alone(project: Path) -> None:
    write({"e": 1.0})
    commit(project, "one")
    write({"e": 2.0})
    shutil.rmtree("data")
    assert published_build("HEAD").scores["evaluate@e"]["scores"] == {"s": 1.0}
    assert not published_build("HEAD").missing


def test_the_commit_is_the_one_that_published(project: Path) -> None:
    write({"e": 1.0})
    commit(project, "one")
    first = command(project, "git", "rev-parse", "HEAD").strip()
    Path("README.md").write_text("x")
    commit(project, "two")
    build = published_build("HEAD")
    assert build.revision == first and build.day.count("-") == 2


def test_machines_are_those_of_the_present_documents(project: Path) -> None:
    write({"e": 1.0})
    document = json.loads(Path("scores/e.json").read_text())
    records = [
        {"machine": {"processor": "old"}, "document": {**document, "scores": {"s": 0.0}}},
        {"machine": {"processor": "new"}, "document": document},
    ]
    Path("scores/records.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    commit(project, "one")
    assert published_build("HEAD").machines == ({"processor": "new"},)


def test_records_that_do_not_say(project: Path) -> None:
    write({"e": 1.0})
    document = json.loads(Path("scores/e.json").read_text())
    Path("scores/records.jsonl").write_text(json.dumps({"document": document}) + "\n")
    commit(project, "one")
    assert published_build("HEAD").machines == ()


@pytest.mark.parametrize("revision", ["HEAD", "nope", "--all", ""])
def test_a_revision_that_does_not_exist(revision: str) -> None:
    with pytest.raises(NothingPublishedError, match="is not a revision"):
        published_build(revision)


def test_a_revision_without_a_lock(project: Path) -> None:
    Path("README.md").write_text("x")
    commit(project, "one")
    with pytest.raises(NothingPublishedError, match=r"nothing is published at HEAD: it has no dvc\.lock"):
        published_build("HEAD")
    assert present_build().stages == {}


def test_damaged_files_are_named(project: Path) -> None:
    write({"e": 1.0})
    Path("scores/e.json").write_text("{")
    with pytest.raises(ValueError, match=r"scores/e\.json is not JSON"):
        present_build()
    Path("dvc.lock").write_text("stages: {a: ")
    with pytest.raises(ValueError, match=r"dvc\.lock is not whole: `vignette repro`"):
        present_build()
    write({"e": 1.0})
    Path("params.yaml").write_text("a: [")
    with pytest.raises(ValueError, match=r"params\.yaml is not valid YAML"):
        present_build()


def test_a_project_in_a_folder_of_a_repository(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = project / "inside"
    folder.mkdir()
    monkeypatch.chdir(folder)
    write({"e": 1.0})
    commit(project, "one")
    assert published_build("HEAD").stages.keys() == {"crawl@a", "evaluate@e"}
    assert published_build("HEAD").day
