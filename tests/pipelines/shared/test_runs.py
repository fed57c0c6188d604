import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import models
from models.vae import Config, Model
from pipelines.shared import runs
from pipelines.shared.files import digest_file, write_json
from pipelines.shared.runs import (
    load_bases,
    load_run,
    own_weights,
    require_capabilities,
    run_digest,
    run_files,
    tied_names,
)
from tests.models.weight_files import ATTACKS, write_attack

PLUGINS = Path(__file__).parent / "training/plugins"
SIZES = {"image_px": 8, "width": 8, "channel_multipliers": [1, 2], "num_groups": 4, "latent_channels": 2}


@pytest.fixture
def write_run(tmp_path, monkeypatch):
    """`write_run("key", module, model)`: a run as the stage publishes it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(models, "__path__", [*models.__path__, str(PLUGINS)])

    def write(key, module, model, config, base=None):
        folder = tmp_path / "runs" / key
        folder.mkdir(parents=True)
        save_file(own_weights(model), folder / "model.safetensors")
        document = {
            "format_version": runs.FORMAT_VERSION,
            "module": module,
            "config": config,
            "capabilities": sorted(models.capabilities(model)),
            "pack": {"key": "small"},
            "base": base or {},
            "model_sha256": digest_file(folder / "model.safetensors"),
        }
        write_json(folder / "config.json", document)
        return folder

    return write


@pytest.fixture
def vae_run(write_run):
    torch.manual_seed(0)
    model = Model(Config(**{**SIZES, "channel_multipliers": (1, 2)}), {})
    return write_run("vae-run", "vae", model, SIZES), model


def test_a_run_is_what_was_written(vae_run):
    folder, model = vae_run
    run = load_run("vae-run", "cpu")
    assert (run.key, run.module, run.pack, run.device) == ("vae-run", "vae", "small", torch.device("cpu"))
    assert run.config == model.config
    assert run.sha256 == run_digest("vae-run") == digest_file(folder / "model.safetensors")
    assert not run.model.training
    assert not any(parameter.requires_grad for parameter in run.model.parameters())
    image = torch.rand(2, 3, 8, 8) * 2 - 1
    assert torch.equal(run.model.reconstruct(image), model.eval().reconstruct(image))


def test_bases_are_built_and_checked(write_run):
    import importlib

    below = importlib.import_module("models.fake_plain")
    above = importlib.import_module("models.fake_frozen")
    torch.manual_seed(0)
    base = below.Model(below.Config(), {})
    write_run("below", "fake_plain", base, {})
    stacked = above.Model(above.Config(uses_base=True), {"below": base})
    pointer = {"role": "below", "key": "below", "sha256": run_digest("below")}
    write_run("above", "fake_frozen", stacked, {"uses_base": True}, pointer)
    loaded = load_run("above", "cpu").model
    assert torch.equal(loaded.below.module.encoder.weight, base.encoder.weight)
    assert torch.equal(loaded.head.weight, stacked.head.weight)
    names = ("config.json", "model.safetensors")
    assert run_files("above") == tuple(Path("runs", key, name) for key in ("above", "below") for name in names)
    base.encoder.weight.data.add_(1)
    write_json(Path("runs/below/config.json"), {**json.loads(Path("runs/below/config.json").read_text())})
    save_file(own_weights(base), "runs/below/model.safetensors")
    with pytest.raises(ValueError, match=r"runs/below/model.safetensors: sha256 is"):
        load_run("above", "cpu")


def test_a_base_that_was_trained_again_is_refused(write_run, vae_run):
    bases = load_bases({"role": "vae", "key": "vae-run", "sha256": run_digest("vae-run")})
    assert set(bases) == {"vae"}
    assert not bases["vae"].training
    assert all(parameter.requires_grad for parameter in bases["vae"].parameters())
    with pytest.raises(ValueError, match="the base run vae-run has other weights now"):
        load_bases({"role": "vae", "key": "vae-run", "sha256": "0" * 64})
    assert load_bases({}) == {}


def publish_as(folder: Path) -> None:
    """Make the config name the weights that lie there."""
    config = json.loads((folder / "config.json").read_text())
    write_json(folder / "config.json", {**config, "model_sha256": digest_file(folder / "model.safetensors")})


@pytest.mark.parametrize("kind", ATTACKS)
def test_weights_that_must_not_be_used_are_refused_though_the_config_names_them(vae_run, kind, tmp_path):
    write_attack(kind, vae_run[0] / "model.safetensors", tmp_path / "witness")
    publish_as(vae_run[0])
    with pytest.raises(ValueError, match=r"runs/vae-run/model\.safetensors"):
        load_run("vae-run", "cpu")
    assert not (tmp_path / "witness").exists(), "no code in a file runs"


def load_as_base(key):
    return load_bases({"role": "r", "key": key, "sha256": run_digest(key)})


@pytest.mark.parametrize("load", [load_run, load_as_base])
def test_a_nan_in_a_run_or_a_base_is_refused_with_the_tensors_name(vae_run, load):
    folder, model = vae_run
    weights = own_weights(model)
    name = next(name for name, tensor in weights.items() if tensor.ndim == 4)
    weights[name] = weights[name].clone()
    weights[name].view(-1)[3] = float("nan")
    save_file(weights, folder / "model.safetensors")
    publish_as(folder)
    with pytest.raises(ValueError, match=rf"model\.safetensors: {name} holds NaN"):
        load("vae-run")


def test_weights_of_another_model_are_refused(vae_run):
    save_file({"other": torch.ones(2)}, vae_run[0] / "model.safetensors")
    publish_as(vae_run[0])
    with pytest.raises(ValueError, match=r"model\.safetensors does not fit the model that its config names"):
        load_run("vae-run", "cpu")


@pytest.mark.parametrize("change", ["flip", "truncate", "remove"])
def test_damaged_weights_are_refused(vae_run, change):
    path = vae_run[0] / "model.safetensors"
    content = bytearray(path.read_bytes())
    if change == "flip":
        content[-1] ^= 1
        path.write_bytes(content)
    elif change == "truncate":
        path.write_bytes(content[:-10])
    else:
        path.unlink()
    with pytest.raises(ValueError, match=r"model\.safetensors: sha256 is .*its config names"):
        load_run("vae-run", "cpu")


def test_run_that_was_not_trained(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"runs/x/config\.json is missing: .*`vignette train x`"):
        load_run("x")


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "is not a run's config"), ("[]", "is not a run's config"), ('{"format_version": 9}', "9")],
)
def test_wrong_config(vae_run, text, message):
    (vae_run[0] / "config.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        run_digest("vae-run")


def test_capabilities_are_known_without_loading(vae_run, monkeypatch):
    monkeypatch.setattr(runs, "_built", lambda key: pytest.fail("loaded"))
    require_capabilities("vae-run", {"reconstruct", "generate"}, "here")
    has = r"vae-run \(vae\) has generate, log_likelihood, reconstruct"
    with pytest.raises(ValueError, match=f"here needs a model with caption; {has}"):
        require_capabilities("vae-run", {"caption", "generate"}, "here")


def test_tied_tensors_are_stored_once(tmp_path):
    model = nn.Module()
    model.a, model.b = nn.Linear(3, 3), nn.Linear(3, 3)
    model.b.weight = model.a.weight
    assert tied_names(model) == {"b.weight": "a.weight"}
    save_file(own_weights(model), tmp_path / "w.safetensors")
    assert set(load_file(tmp_path / "w.safetensors")) == {"a.weight", "a.bias", "b.bias"}
    other = nn.Module()
    other.a, other.b = nn.Linear(3, 3), nn.Linear(3, 3)
    other.b.weight = other.a.weight
    runs.read_weights(tmp_path / "w.safetensors", digest_file(tmp_path / "w.safetensors"), other)
    assert torch.equal(other.b.weight, model.a.weight)
    assert torch.equal(other.b.bias, model.b.bias)


def test_a_run_that_lies_elsewhere(vae_run, monkeypatch):
    folder, model = vae_run
    elsewhere = folder.parent.parent / "champions"
    folder.parent.rename(elsewhere)
    with pytest.raises(ValueError, match="was not trained to the end"):
        load_run("vae-run", "cpu")
    loaded = load_run("vae-run", "cpu", elsewhere)
    assert loaded.sha256 == run_digest("vae-run", elsewhere)
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[name], value), name
