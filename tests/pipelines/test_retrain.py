"""Scheduled retraining: its steps one by one, and the whole cycle on real web sites with a small model."""

import json
import math
import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from pipelines import retrain
from pipelines.repro import Graph, OutOfTimeError
from pipelines.shared.files import digest_file
from pipelines.shared.layers import read_layer
from pipelines.shared.manifests import manifest_digest, read_manifest
from pipelines.shared.stage import single_run
from tests.pipelines.retrain_job import RECALL, change_site, run_retrain, write_job
from tests.pipelines.small_job import command

PARAMS = {"evaluations": {"clip": {}}, "retrain": {"gates": {"clip": {"evaluation": "clip", "improve": {"recall": 0}}}}}
NOTHING = "Nothing to do: no change was noticed, all stages are up to date, all gates have decided.\n"


class Source(SimpleNamespace):
    """What `refresh` says of one."""

    def __str__(self) -> str:
        return f"{self.source}: 1 new"


def source(name: str = "emoji", *, is_noted: bool = True, problem: str = "") -> Source:
    return Source(source=name, is_noted=is_noted, problem=problem)


class Steps:
    """Stand-ins for all steps, and what was called."""

    def __init__(self) -> None:
        self.called: list[Any] = []
        self.sources: tuple[Source, ...] = ()
        self.counts = [0, 0]
        self.records = 0
        self.is_decided = True
        self.stages: set[str] = set()

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        contest = SimpleNamespace(is_decided=True)
        document = {"gate": "clip", "verdict": "hold", "reasons": ["it is no better"]}
        graph = Graph({"crawl@emoji": frozenset(), "evaluate@clip": frozenset({"crawl@emoji"})})

        def refresh(*, dry_run: bool = False) -> tuple[Source, ...]:
            self.called.append("look" if dry_run else "refresh")
            return self.sources

        def repro(jobs: int, without: tuple[str, ...] = (), deadline: float = math.inf) -> int:
            self.called.append(("repro", jobs, *without))
            if time.monotonic() >= deadline:
                raise OutOfTimeError("0 of 1 stages are done, not train@clip")
            return self.counts.pop(0)

        def settle(_: Any) -> dict[str, Any]:
            self.called.append("settle")
            return document

        def record() -> int:
            self.called.append("record")
            return self.records

        def read_contest(*_: Any) -> SimpleNamespace:
            contest.is_decided = self.is_decided
            return contest

        for function in (refresh, repro, settle, record, read_contest):
            monkeypatch.setattr(retrain, function.__name__, function)
        monkeypatch.setattr(retrain, "outdated", lambda: (graph, set(self.stages)))
        monkeypatch.setattr(retrain, "whole_graph", lambda: graph)
        monkeypatch.setattr(retrain, "outlook", lambda _: "has decided")


@pytest.fixture
def steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Steps:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(yaml.safe_dump(PARAMS))
    before = signal.getsignal(signal.SIGTERM)
    steps = Steps()
    steps.install(monkeypatch)
    yield steps
    signal.signal(signal.SIGTERM, before)


def call(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    monkeypatch.setattr("sys.argv", ["vignette retrain", *words])
    retrain.main()


def test_nothing_to_do(steps: Steps, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    steps.sources = (source(is_noted=False),)
    call(monkeypatch, "--jobs", "3")
    assert capsys.readouterr().out == NOTHING
    assert steps.called == ["refresh", ("repro", 3, "report"), "record", ("repro", 3)]


def test_all_steps(steps: Steps, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    steps.sources, steps.counts, steps.records, steps.is_decided = (source(),), [5, 1], 2, False
    call(monkeypatch, "--jobs", "3")
    assert steps.called == ["refresh", ("repro", 3, "report"), "settle", "record", ("repro", 3)]
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "emoji: 1 new",
        "clip: hold (it is no better); see scores/gates/clip/gate.md",
        "stages: 6 run",
        "records: 2 appended",
    ]
    assert err.splitlines() == ["retrain: emoji: 1 new", "retrain: gate clip: scoring"]


def test_without_a_look(steps: Steps, monkeypatch: pytest.MonkeyPatch) -> None:
    call(monkeypatch, "--no-refresh")
    assert "refresh" not in steps.called


def test_a_source_that_cannot_be_read_does_not_keep_the_others_waiting(
    steps: Steps, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    steps.sources, steps.counts = (source(), source("web", is_noted=False, problem="no answer")), [5, 1]
    with pytest.raises(SystemExit, match=r"^vignette retrain: not all sources could be looked at, .*: web: no answer$"):
        call(monkeypatch)
    assert capsys.readouterr().out == "emoji: 1 new\nstages: 6 run\n"


@pytest.mark.parametrize("where", ["command line", "params.yaml"])
def test_time_is_up(steps: Steps, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, where: str) -> None:
    Path("params.yaml").write_text(
        yaml.safe_dump({**PARAMS, "retrain": {**PARAMS["retrain"], "time_budget_min": 1e-9}})
    )
    with pytest.raises(SystemExit) as ended:
        call(monkeypatch, *(["--time-budget-min", "1e-9"] if where == "command line" else []))
    assert ended.value.code == retrain.NOT_DONE == 3
    line = "vignette retrain: time is up: 0 of 1 stages are done, not train@clip; the same command goes on from here\n"
    assert capsys.readouterr().err == line
    call(monkeypatch, "--time-budget-min", "0")


def test_time_is_up_before_a_gate(steps: Steps, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    steps.is_decided = False
    monkeypatch.setattr(retrain, "repro", lambda *_, **__: 4)
    with pytest.raises(SystemExit) as ended:
        call(monkeypatch, "--time-budget-min", "1e-9")
    assert ended.value.code == 3 and "settle" not in steps.called and "record" not in steps.called
    assert "all stages but report are done, gate clip has not decided" in capsys.readouterr().err


def test_a_dry_run(steps: Steps, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    steps.sources = (source(is_noted=False, problem="no answer"),)
    call(monkeypatch, "--dry-run")
    assert capsys.readouterr().out == "emoji: 1 new (no answer)\nstages to run: none\ngate clip: has decided\n"
    steps.sources = (source(),)
    call(monkeypatch, "--dry-run")
    stages = "stages to run: crawl@emoji, evaluate@clip\ngate clip: decides after these\n"
    assert capsys.readouterr().out == f"emoji: 1 new\n{stages}"
    steps.stages = {"evaluate@clip"}
    call(monkeypatch, "--dry-run", "--no-refresh")
    assert capsys.readouterr().out == "stages to run: evaluate@clip\ngate clip: decides after these\n"
    assert steps.called == ["look", "look"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--jobs", "0"), "--jobs must be at least 1, got 0"),
        (("--time-budget-min", "-1"), r"--time-budget-min must be at least 0, got -1\.0"),
        (("--time-budget-min", "nan"), "--time-budget-min must be at least 0, got nan"),
    ],
)
def test_mistakes(steps: Steps, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], message: str) -> None:
    with pytest.raises(SystemExit, match=f"^vignette retrain: {message}$"):
        call(monkeypatch, *words)
    assert steps.called == []


def test_one_run_at_a_time(steps: Steps, monkeypatch: pytest.MonkeyPatch) -> None:
    with single_run("retrain"), pytest.raises(SystemExit, match=r"another run holds .*retrain\.lock: wait for it"):
        call(monkeypatch)


def test_a_scheduler_s_termination_is_an_interruption(steps: Steps, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrain, "record", lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(SystemExit, match=r"^vignette retrain: interrupted; the same command goes on from here$"):
        call(monkeypatch)


# --- the whole cycle ---


def gate(job: Path) -> dict[str, Any]:
    return json.loads((job / "scores/gates/clip/gate.json").read_text())


def digests(job: Path) -> dict[str, str]:
    """DVC's digest of each stage's first output."""
    stages = yaml.safe_load((job / "dvc.lock").read_text())["stages"]
    return {name: stage["outs"][0]["md5"] for name, stage in stages.items()}


def crawled(job: Path) -> dict[str, str]:
    """sha256 of each file of the crawl of `emoji`, by its path on the page."""
    folder = job / "data/crawl/emoji"
    rows = [row for info in read_manifest(folder).layers for row in read_layer(folder, info).to_pylist()]
    return {row["url"].rpartition("/emoji/")[2]: row["sha256"] for row in rows}


@pytest.mark.timeout(1200)
def test_the_whole_cycle(tmp_path: Path) -> None:
    """First champion, a change of the site, a challenger that is held, promoted all the same, and taken back."""
    job = write_job(tmp_path / "job")
    out = run_retrain(job)
    assert "clip: promote (first champion); `vignette promote clip` puts it in use" in out
    assert "stages: 9 run\nrecords: 1 appended\n" in out
    first, before, files = gate(job), digests(job), crawled(job)
    assert (first["verdict"], first["champion"]) == ("promote", None)
    told = command(job, "python3", "-m", "pipelines.promote", "clip")
    assert "is clip v0.1.0" in told and "clip@v0.1.0, clip#champion#1" in told

    assert run_retrain(job) == NOTHING

    changes = change_site(job)
    plan = run_retrain(job, "--dry-run")
    assert "emoji: 1 new, 1 changed, 1 gone" in plan and "gate clip: decides after these" in plan
    assert "crawl@emoji" in plan and "crawl@clipart" not in plan
    assert digests(job) == before and gate(job) == first
    out = run_retrain(job)
    after = digests(job)
    changed = {name for name in after if after[name] != before[name]}
    rebuilt = {"crawl@emoji", "annotate@emoji", "filter@base", "pack@web", "train@clip", "evaluate@clip", "report"}
    assert changed == rebuilt
    check_files(files, crawled(job), changes)
    second = gate(job)
    assert second["verdict"] == "hold" and f"{RECALL} does not gain 1.5" in second["reasons"][0]
    assert second["champion"]["model_sha256"] == first["challenger"]["model_sha256"]
    assert second["challenger"]["model_sha256"] != first["challenger"]["model_sha256"]
    frozen = json.loads((job / "champions/clip/champion.json").read_text())["test"]["pack_sha256"]
    assert second["test"]["pack_sha256"] == frozen != manifest_digest(job / "data/pack/web")
    assert {path.name for path in (job / "scores/gates/clip").iterdir()} == {
        *("gate.json", "gate.md", "champion", "challenger"),
    }
    assert len((job / "scores/records.jsonl").read_text().splitlines()) == 2

    command(job, "python3", "-m", "pipelines.promote", "clip", "--force", "--reason", "a test")
    weights = job / "champions/clip/runs/clip/model.safetensors"
    assert weights.read_bytes() == (job / "runs/clip/model.safetensors").read_bytes()
    told = command(job, "python3", "-m", "pipelines.rollback", "clip")
    assert told.startswith("clip v0.1.0 is in use\ntagged clip#champion#3")
    assert digest_file(weights) == first["challenger"]["model_sha256"]
    assert command(job, "git", "tag").split() == [
        *("clip#champion#1", "clip#champion#2", "clip#champion#3", "clip@v0.1.0", "clip@v0.1.1"),
    ]


def check_files(before: dict[str, str], after: dict[str, str], changes: dict[str, str]) -> None:
    """One file is new, one gone, one has other bytes, and all others are as they were."""
    assert set(after) - set(before) == {changes["added"]} and set(before) - set(after) == {changes["removed"]}
    assert {path for path in set(before) & set(after) if before[path] != after[path]} == {changes["changed"]}
