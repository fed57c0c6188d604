"""The stage: settings, capabilities, layers and manifest; the work on a shard has its own test."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipelines import recaption
from pipelines.shared import recaptioning
from pipelines.shared.layers import read_layer
from pipelines.shared.manifests import read_manifest
from pipelines.shared.stage import StageRun
from tests.pipelines.shared.test_recaptioning import Captioner, Clip, Matcher

IN_PROCESS = ("--direct_running_mode=in_memory", "--direct_num_workers=1")
ENTRY = {"pack": "web", "captioner": "cap", "matcher": "mat", "clip": "clip"}
CAPABILITIES = {"cap": ["caption"], "mat": ["match"], "clip": ["encode_image", "encode_text"]}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_pack) -> Path:
    monkeypatch.chdir(tmp_path)
    write_pack(tmp_path / "data" / "pack" / "web", {"train": 7, "val": 2, "test": 3})
    for key, names in CAPABILITIES.items():
        folder = tmp_path / "runs" / key
        folder.mkdir(parents=True)
        document = {"format_version": 1, "model_sha256": key * 20, "module": "fake", "capabilities": names}
        (folder / "config.json").write_text(json.dumps(document))
    models = {"cap": Captioner(), "mat": Matcher(), "clip": Clip()}
    monkeypatch.setattr(recaptioning, "loaded", lambda key: SimpleNamespace(model=models[key], sha256=key * 20))
    return tmp_path


def run(entry: dict) -> None:
    params = {"seed": 0, "recaptions": {"first": entry}}
    recaption.run(StageRun(stage="recaption", key="first", params=params, beam_options=IN_PROCESS))


def test_layers_of_train_and_val_only(project: Path) -> None:
    run(ENTRY)
    folder = project / "data" / "recaption" / "first"
    manifest = read_manifest(folder)
    assert {info.name.partition("/")[0] for info in manifest.layers} == {"train", "val"}
    assert manifest.counts.kept == sum(info.num_samples for info in manifest.layers)
    rows = [row for info in manifest.layers for row in read_layer(folder, info).to_pylist()]
    origins = {each["origin"] for row in rows for each in row["candidates"]}
    assert "synthetic" in origins
    texts = manifest.details["texts"]
    assert sum(texts["judged"].values()) == sum(len(row["candidates"]) for row in rows)
    assert all(texts["kept"][origin] <= texts["judged"][origin] for origin in texts["judged"])


def test_a_run_that_cannot_do_its_part(project: Path) -> None:
    with pytest.raises(ValueError, match=r"captioner needs a model with caption; mat \(fake\) has match"):
        run({**ENTRY, "captioner": "mat"})


def test_a_misspelt_setting(project: Path) -> None:
    with pytest.raises(ValueError, match=r"recaptions\.first\.treshold is not a setting \(did you mean threshold\?\)"):
        run({**ENTRY, "treshold": 0.4})
