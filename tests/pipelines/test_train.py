"""The stage from its params to a loaded run, with real plug-ins."""

import json
from pathlib import Path

import pytest
import torch

from pipelines import train
from pipelines.shared.files import digest_tree
from pipelines.shared.runs import load_run
from pipelines.shared.stage import StageRun
from pipelines.shared.training.gradients import Stepper

TRAINING = {"steps": 4, "batch_size": 4, "learning_rate": 1e-3, "device": "cpu", "validate_every": 2, "log_every": 1}
VAE = {"module": "vae", "image_px": 8, "width": 8, "channel_multipliers": (1, 2), "num_groups": 4, "latent_channels": 2}


@pytest.fixture
def project(tmp_path, monkeypatch, write_pack):
    monkeypatch.chdir(tmp_path)
    write_pack(tmp_path / "data/pack/small", {"train": 10, "val": 3})
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield tmp_path
    torch.set_num_threads(before)
    torch.set_deterministic_debug_mode("default")


def stage(key: str = "vae-small", section: str = "models", **changed) -> StageRun:
    entry = {**VAE, "pack": "small", "training": TRAINING, **changed}
    return StageRun(stage="train", key=key, params={"seed": 1, section: {key: entry}})


def test_trains_publishes_and_loads(project):
    train.run(stage())
    run = load_run("vae-small", "cpu")
    assert run.module == "vae"
    assert run.model.reconstruct(torch.zeros(1, 3, 8, 8)).shape == (1, 3, 8, 8)
    assert int(run.model.num_steps) == 4
    assert run.document["step"] == 4
    assert not list(Path(".vignette/scratch").rglob("*.pt"))


def test_same_input_same_bytes(project):
    def digest() -> str:
        train.run(stage(training={**TRAINING, "ema": 0.9}))
        return digest_tree(project / "runs/vae-small")

    first = digest()
    torch.manual_seed(5)
    assert digest() == first


def test_an_interrupted_run_goes_on(project, monkeypatch):
    train.run(stage())
    weights = (project / "runs/vae-small/model.safetensors").read_bytes()
    real = Stepper.gradients

    def interrupted(self, batches, step):
        if step == 2:
            raise KeyboardInterrupt
        return real(self, batches, step)

    faithful = stage(training={**TRAINING, "checkpoint_every_sec": 0.0})
    monkeypatch.setattr(Stepper, "gradients", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train.run(faithful)
    assert (project / "runs/vae-small/model.safetensors").read_bytes() == weights, (
        "the old run stays until the new is done"
    )
    steps = []
    monkeypatch.setattr(
        Stepper, "gradients", lambda self, batches, step: steps.append(step) or real(self, batches, step)
    )
    train.run(stage())
    assert steps == [2, 3]
    assert (project / "runs/vae-small/model.safetensors").read_bytes() == weights


def test_a_stacked_model_records_its_base(project, monkeypatch):
    import models

    plugins = Path(__file__).parent / "shared/training/plugins"
    monkeypatch.setattr(models, "__path__", [*models.__path__, str(plugins)])
    captions = {"web": 1}
    below = {"module": "fake_plain", "pack": "small", "training": TRAINING, "captions": captions}
    above = {**below, "module": "fake_frozen", "base": "below", "uses_base": True}
    params = {"seed": 1, "models": {"below": below}, "stacked": {"above": above}}
    with pytest.raises(ValueError, match="below was not trained"):
        train.run(StageRun(stage="train", key="above", params=params))
    for key in ("below", "above"):
        train.run(StageRun(stage="train", key=key, params=params))
    document = json.loads((project / "runs/above/config.json").read_text())
    assert document["base"] == {"role": "below", "key": "below", "sha256": load_run("below", "cpu").sha256}
    loaded, base = load_run("above", "cpu").model, load_run("below", "cpu").model
    assert torch.equal(loaded.below.module.encoder.weight, base.encoder.weight)


def test_no_gpu_is_an_error(project, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="PyTorch sees no GPU"):
        train.run(stage(training={**TRAINING, "device": "cuda"}))


def test_a_missing_pack_is_an_error(project):
    with pytest.raises(ValueError, match="data/pack/other"):
        train.run(stage(pack="other"))
