"""The stage: settings, capabilities, layers and manifest; the work on a shard has its own test."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipelines import pack, recaption
from pipelines.captioners import Written, chat_server
from pipelines.shared import recaptioning
from pipelines.shared.layers import read_layer
from pipelines.shared.manifests import read_manifest
from pipelines.shared.stage import StageRun
from tests.pipelines.model_server import KEY, Fake, said, serve
from tests.pipelines.shared.test_recaptioning import Captioner, Clip, Matcher

__all__ = ["serve"]

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

    def loaded(key: str, device: str) -> SimpleNamespace:
        return SimpleNamespace(model=models[key], sha256=key * 20, device=device)

    monkeypatch.setattr(recaptioning, "loaded", loaded)
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


def test_the_audit_stands_beside_the_manifest(project: Path) -> None:
    run({**ENTRY, "threshold": 0.5, "num_audited": 100})
    folder = project / "data" / "recaption" / "first"
    audit = json.loads((folder / "audit.json").read_text())
    assert audit["captioners"] == {
        "captioner": {
            "run": "cap",
            "model": "cap" * 20,
            "decoding": {"decoding": "nucleus", "top_p": 0.9},
            "num_candidates": 1,
        }
    }
    with_people = {
        split: sum(
            any(each["origin"] == "human" for each in row["candidates"])
            for info in read_manifest(folder).files(f"{split}/")
            for row in read_layer(folder, info).to_pylist()
        )
        for split in ("train", "val")
    }
    planted = audit["planted"]
    assert {split: planted[split]["num_samples"] for split in planted} == {
        split: count if count > 1 else 0 for split, count in with_people.items()
    }
    # the fake matcher believes what has fewer than six characters: no caption of a person here
    assert planted["train"]["recall"]["value"] == planted["train"]["false_acceptance"]["value"] == 0
    assert planted["train"]["precision"] is None
    texts = read_manifest(folder).details["texts"]
    for origin in ("web", "synthetic"):
        share = 1 - texts["kept"][origin] / texts["judged"][origin]
        assert audit["rejected"]["by_origin"][origin]["value"] == pytest.approx(share)


def test_the_audit_changes_no_layer(project: Path) -> None:
    folder = project / "data" / "recaption" / "first"
    manifests = []
    for settings in ({}, {"num_audited": 0}):
        run({**ENTRY, **settings})
        manifests.append((folder / "manifest.json").read_bytes())
    assert manifests[0] == manifests[1]


def test_too_many_failures_end_the_round(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    failing = {"module": "chat_server", "model": "m", "tries": 1}

    def caption(self, samples):
        return [Written(error="http_500") for _ in samples]

    monkeypatch.setattr(chat_server.Captioner, "caption", caption)
    with pytest.raises(
        ValueError, match=r"recaption first: 9 of 9 failed, more than max_failed_frac = 0\.5: captioner"
    ):
        run({**ENTRY, "captioners": {"far": failing}, "max_failed_frac": 0.5})
    assert not (project / "data" / "recaption" / "first").exists()
    with pytest.raises(ValueError, match=r"recaption first: nothing is kept of 9: captioner:http_500 9"):
        run({**ENTRY, "captioners": {"far": failing}, "max_failed_frac": 1.0})

    def caption_first(self, samples):
        return [
            Written(texts=("a toy",)) if sample.key == samples[0].key else Written(error="http_500")
            for sample in samples
        ]

    monkeypatch.setattr(chat_server.Captioner, "caption", caption_first)
    run({**ENTRY, "captioners": {"far": failing}, "max_failed_frac": 1.0})
    counts = read_manifest(project / "data" / "recaption" / "first").counts
    assert counts.kept and counts.failed == {"captioner:http_500": 9 - counts.kept}


def test_a_second_round_takes_the_pack_of_the_first(project: Path) -> None:
    """What the first round wrote is judged again, and new texts come to it."""
    run(ENTRY)
    repack = {"pack": "web", "recaption": "first"}
    params = {"seed": 0, "repacks": {"again": repack}, "recaptions": {"second": {**ENTRY, "pack": "again"}}}
    pack.run(StageRun(stage="pack", key="again", params=params, beam_options=IN_PROCESS))
    recaption.run(StageRun(stage="recaption", key="second", params=params, beam_options=IN_PROCESS))
    folder = project / "data" / "recaption" / "second"
    manifest = read_manifest(folder)
    rows = [row for info in manifest.layers for row in read_layer(folder, info).to_pylist()]
    written = [[each["text"] for each in row["candidates"] if each["origin"] == "synthetic"] for row in rows]
    assert {len(texts) for texts in written} == {2} and all(len(set(texts)) == 2 for texts in written)


def test_the_key_of_a_server_is_in_no_file(
    project: Path, serve: Callable[..., Fake], monkeypatch: pytest.MonkeyPatch, caplog: Any, capfd: Any
) -> None:
    fake = serve(lambda body, count: (429, {}, b"") if count == 0 else said(f"shade {body['seed']}"))
    monkeypatch.setenv("OPENAI_BASE_URL", fake.url)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    run({**ENTRY, "captioners": {"far": {"module": "chat_server", "model": "vlm", "backoff_sec": 0.01}}})
    folder = project / "data" / "recaption" / "first"
    rows = [row for info in read_manifest(folder).layers for row in read_layer(folder, info).to_pylist()]
    far = [each for row in rows for each in row["candidates"] if each["place"] == "far"]
    assert len(far) == 9 and {each["model_sha256"] for each in far} == {"server:vlm"}
    assert all(headers["Authorization"] == f"Bearer {KEY}" for headers in fake.headers)
    files = [path for path in project.rglob("*") if path.is_file()]
    assert len(files) > 9 and not any(KEY.encode() in path.read_bytes() for path in files)
    printed = capfd.readouterr()
    assert KEY not in printed.out + printed.err + caplog.text
    before = len(fake.asked)
    run({**ENTRY, "captioners": {"far": {"module": "chat_server", "model": "vlm"}}, "num_audited": 0})
    assert len(fake.asked) == before, "a round that is made again asks nothing again"
