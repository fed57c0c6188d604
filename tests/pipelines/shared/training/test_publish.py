import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from pipelines.shared.files import digest_file, digest_tree
from pipelines.shared.stage import StageRun
from pipelines.shared.training.distributed import World
from pipelines.shared.training.loop import fit
from pipelines.shared.training.prepare import Inputs, build_job
from pipelines.shared.training.publish import packaged_digests, publish
from pipelines.shared.training.settings import read_plan


def published(project, params, name, module="fake_plain", **settings):
    run = StageRun(stage="train", key="tested", params=params(module, **settings))
    inputs = Inputs.read(read_plan(run.params, run.key), run.seed)
    folder = project / f"scratch-{name}"
    folder.mkdir()
    job = build_job(inputs, World(torch.device("cpu")), folder)
    state = fit(job)
    publish(inputs, job, state, name)
    return project / "runs" / name, state


def test_files(project, params):
    (project / "runs/a").mkdir(parents=True)
    (project / "runs/a/stale.txt").write_text("from another run")
    out, state = published(project, params, "a")
    names = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    assert names == ["README.md", "config.json", "history.csv", "model.safetensors"]
    assert (project / "dvclive/a/val/loss.tsv").read_text().startswith("step\tloss\n")
    timing = json.loads((project / "timings/a.json").read_text())
    assert timing["samples_per_sec"] == pytest.approx(8 * 8 / timing["seconds"])
    document = json.loads((out / "config.json").read_text())
    assert document["model_sha256"] == digest_file(out / "model.safetensors")
    assert (out / "model.safetensors").stat().st_mode & 0o777 == 0o644
    assert document["num_parameters"] == sum(value.numel() for value in state.model.parameters())
    assert document["capabilities"] == ["encode_image"]
    assert document["config"] == {"image_px": 8, "width": 6, "nan_at_step": -1}
    assert (document["step"], document["weights"], document["base"]) == (8, "last", {})
    assert (document["pack"]["num_train_samples"], document["pack"]["num_val_samples"]) == (21, 6)
    assert len((out / "history.csv").read_text().splitlines()) == 1 + len(state.rows)


def test_metadata_of_the_weights_names_what_made_them(project, params):
    out, _ = published(project, params, "a")
    with safe_open(out / "model.safetensors", "pt") as file:
        (name,) = file.metadata()
        inside = json.loads(file.metadata()[name])
    document = json.loads((out / "config.json").read_text())
    assert name == "vignette"
    assert inside == {key: value for key, value in document.items() if key not in ("model_sha256", "files")}


def test_the_config_knows_all_files_of_the_run(project, params):
    out, _ = published(project, params, "a")
    document = json.loads((out / "config.json").read_text())
    others = {path.name for path in out.iterdir()} - {"config.json", "model.safetensors"}
    assert others == {"README.md", "history.csv"}
    assert document["files"] == {name: digest_file(out / name) for name in others}


def test_average_is_what_is_published(project, params):
    out, state = published(project, params, "a", ema=0.9)
    weights = load_file(out / "model.safetensors")
    for name, value in state.average.average.items():
        assert torch.equal(weights[name], value)
    assert not torch.equal(weights["encoder.weight"], state.model.encoder.weight)
    assert torch.equal(weights["num_steps"], torch.tensor(8))


def test_equal_runs_have_equal_bytes(project, params):
    first, _ = published(project, params, "a", ema=0.9)
    second, _ = published(project, params, "b", ema=0.9, num_workers=1, pixel_cache_bytes=0)
    assert digest_tree(first) == digest_tree(second)
    assert digest_tree(project / "dvclive/a") == digest_tree(project / "dvclive/b")


def test_frozen_parts_are_not_in_the_file(project, params):
    out, state = published(project, params, "a", module="fake_frozen")
    assert set(load_file(out / "model.safetensors")) == {"head.weight", "head.bias"}
    assert state.model.head is state.model.tied


def test_packaged_digests_are_found_anywhere():
    model = torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.Linear(1, 1))
    model[1].packaged_digests = {"package/b": "2", "package/a": "1"}
    assert packaged_digests(model) == {"package/a": "1", "package/b": "2"}
