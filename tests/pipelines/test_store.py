"""The data stages with workers that share nothing with the stage but an S3 bucket: the bytes of a local build."""

import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import save_file

from models import capabilities
from models.blip import Config, Model
from pipelines import annotate, crawl, filter, pack, recaption, refresh
from pipelines.shared import jobs
from pipelines.shared.files import digest_file, write_json
from pipelines.shared.params import load_params
from pipelines.shared.runs import own_weights
from pipelines.shared.stage import StageRun
from pipelines.shared.storage import RemoteFolder
from tests.models.test_blip import SIZES
from tests.pipelines.builders import ANNOTATORS
from tests.pipelines.crawl_site import digests, write_project
from tests.pipelines.small_job import ROOT

IN_PROCESS = ("--direct_running_mode=in_memory", "--direct_num_workers=1")
STAGES = ((crawl, "toys"), (annotate, "toys"), (filter, "base"), (pack, "web"), (recaption, "first"), (pack, "again"))
# what a Beam worker does with a task, without Beam's start of some seconds for each stage
MACHINE = """
import pickle, sys
for line in sys.stdin:
    with open(line.strip(), "rb") as file:
        do, tasks = pickle.load(file)
    do.setup()
    for task in tasks:
        assert list(do.process(task)) == [task.task.name]
    print("done", flush=True)
"""


class Machine:
    """A process that stands for a worker machine: in an empty folder, and not told of the stage's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        surroundings = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder)}
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        words = [sys.executable, "-c", MACHINE]
        self.process = subprocess.Popen(words, cwd=folder, env=surroundings, text=True, **pipes)

    def run_pipeline(self, run: StageRun, construct: Callable[[Any], Any]) -> None:
        """In the place of the function of that name."""
        construct(self)

    def __or__(self, transform: Any) -> None:
        sent = pickle.dumps((transform.do, transform.tasks))
        assert str(Path.cwd()).encode() not in sent, "a worker is told of the stage's folder"
        path = self.folder.with_suffix(".pickle")
        path.write_bytes(sent)
        assert self.process.stdin and self.process.stdout and self.process.stderr
        self.process.stdin.write(f"{path}\n")
        self.process.stdin.flush()
        if self.process.stdout.readline() != "done\n":
            raise RuntimeError(self.process.stderr.read())

    def end(self) -> None:
        self.process.communicate()


@pytest.fixture
def machine(s3: str, tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path / "machine")
    yield made
    made.end()
    assert {path.name for path in made.folder.glob("vignette-*")} <= {f"vignette-{os.getuid()}"}, (
        "a worker's folder ends"
    )


def write_run(folder: Path) -> dict[str, str]:
    """An untrained BLIP that writes, judges and embeds; returns settings of an annotator that uses it."""
    torch.manual_seed(0)
    model = Model(Config(**SIZES), {})
    folder.mkdir(parents=True)
    save_file(own_weights(model), folder / "model.safetensors")
    sha256 = digest_file(folder / "model.safetensors")
    about = {"module": "blip", "config": SIZES, "capabilities": sorted(capabilities(model)), "pack": {"key": "x"}}
    write_json(folder / "config.json", {"format_version": 1, "base": {}, "model_sha256": sha256, **about})
    return {"module": "match_score", "run": "blip", "sha256": sha256}


def write_job(folder: Path) -> Path:
    """The toys' site, a run, and the settings of all stages."""
    write_project(folder)
    params = yaml.safe_load((folder / "params.yaml").read_text())
    names = {"pack": "web", "captioner": "blip", "matcher": "blip", "clip": "blip"}
    params |= {
        "annotators": {**ANNOTATORS, "match-score": write_run(folder / "runs" / "blip")},
        "filters": {"base": {"sources": ["toys"], "split": {"val": 0.2, "test": {"toys": 0.2}}}},
        "packs": {"web": {"filter": "base", "media": "image", "size_px": 16, "samples_per_shard": 4}},
        "recaptions": {"first": {**names, "threshold": 0.1, "decoding": {"decoding": "greedy", "max_tokens": 5}}},
        "repacks": {"again": {"pack": "web", "recaption": "first"}},
    }
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    return folder


def build(folder: Path, **settings: Any) -> dict[str, str]:
    """Digests of all that stages publish, run in a folder."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        refresh.refresh()
        for module, key in STAGES:
            params = load_params() | settings
            name = module.__name__.rpartition(".")[2]
            module.run(StageRun(stage=name, key=key, params=params, beam_options=IN_PROCESS))
    finally:
        os.chdir(before)
    return digests(folder / "data")


def test_every_stage_has_the_bytes_of_a_local_build(
    s3: str, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(write_job(tmp_path / "stored"), tmp_path / "local")
    expected = build(tmp_path / "local")
    monkeypatch.setattr(jobs, "run_pipeline", machine.run_pipeline)
    assert build(tmp_path / "stored", store=f"{s3}/here") == expected
    assert len([name for name in expected if name.endswith("manifest.json")]) == len(STAGES)
    store = RemoteFolder(f"{s3}/here")
    assert all(name.startswith("files/") for name in store.listed()), "no results are left"
    assert all(store.digest(name) == name.rpartition("/")[2] for name in store.listed())
