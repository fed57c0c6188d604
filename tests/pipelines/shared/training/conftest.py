"""Fixtures of the training tests: fake plug-ins, a project folder with a pack, and jobs on it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import models
from pipelines.shared.stage import StageRun
from pipelines.shared.training.distributed import World
from pipelines.shared.training.loop import Job
from pipelines.shared.training.prepare import Inputs, build_job
from pipelines.shared.training.settings import read_plan

PLUGINS = Path(__file__).parent / "plugins"
SETTINGS: dict[str, Any] = {
    "steps": 8,
    "batch_size": 8,
    "learning_rate": 1e-2,
    "warmup_steps": 2,
    "weight_decay": 0.1,
    "log_every": 3,
    "validate_every": 4,
    "device": "cpu",
}
CAPTIONS = {"web": 1, "human": 3}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
    torch.set_deterministic_debug_mode("default")


@pytest.fixture
def fake_plugins(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The fake plug-ins stand beside the real ones."""
    monkeypatch.setattr(models, "__path__", [*models.__path__, str(PLUGINS)])
    return PLUGINS


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_pack: Any, fake_plugins: Path) -> Path:
    """An empty project folder with the packs `small` and `clips`, as the current one."""
    monkeypatch.chdir(tmp_path)
    write_pack(tmp_path / "data/pack/small", {"train": 27, "val": 7, "test": 3})
    write_pack(tmp_path / "data/pack/clips", {"train": 6, "val": 2}, media="video")
    return tmp_path


@pytest.fixture
def params() -> Callable[..., dict[str, Any]]:
    """`params("fake_plain", ema=0.9)`: params with the one model `tested`."""

    def make(module: str, *, pack: str = "small", captions: Any = None, config: Any = None, **training: Any) -> Any:
        entry = {"module": module, "pack": pack, "training": {**SETTINGS, **training}, **(config or {})}
        captions = CAPTIONS if captions is None else captions
        return {"seed": 3, "models": {"tested": {**entry, **({"captions": captions} if captions else {})}}}

    return make


@pytest.fixture
def make_job(project: Path, params: Any) -> Callable[..., Job]:
    """`make_job("fake_plain", ema=0.9)`: a job in the project; `folder` names its scratch."""

    def make(module: str, *, folder: str = "scratch", **settings: Any) -> Job:
        run = StageRun(stage="train", key="tested", params=params(module, **settings))
        inputs = Inputs.read(read_plan(run.params, run.key), run.seed)
        (project / folder).mkdir(exist_ok=True)
        return build_job(inputs, World(torch.device("cpu")), project / folder)

    return make
