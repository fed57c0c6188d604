"""Galleries: the right pictures with the right texts."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from pipelines.shared.evaluation import evidence as evidence_module
from pipelines.shared.evaluation.evidence import Evidence
from pipelines.shared.evaluation.gallery import MIN_GENERATED_PX, enlarged, write_gallery
from pipelines.shared.evaluation.settings import EvaluationEntry
from pipelines.shared.evaluation.split import HeldOut
from pipelines.shared.features import FeatureStore
from tests.pipelines.shared.evaluation.fakes import Copier, Painter, TwoTowers, Writer, run_of, write_pack


def gallery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: torch.nn.Module) -> list[dict]:
    monkeypatch.setattr(evidence_module, "FeatureStore", lambda: FeatureStore(tmp_path / "store"))
    split = HeldOut.load(write_pack(tmp_path / "pack"), ("human",))
    settings = EvaluationEntry(model="m", pack="web", judge="j", metrics=("x",), num_generated=4, num_shown=3)
    evidence = Evidence(run_of(model), lambda: run_of(TwoTowers(), "j"), split, settings, seed=0)
    count = write_gallery(tmp_path / "gallery", evidence)
    items = json.loads((tmp_path / "gallery" / "gallery.json").read_text())
    assert count == len(items) == 3
    for item in items:
        with Image.open(tmp_path / "gallery" / item["picture"]) as picture:
            assert min(picture.size) >= MIN_GENERATED_PX
    return items


def test_captioner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    items = gallery(tmp_path, monkeypatch, Writer())
    assert [item["written"] for item in items] == [item["captions"][0] for item in items]


def test_retriever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(item["nearest"] in item["captions"] for item in gallery(tmp_path, monkeypatch, TwoTowers()))


def test_generator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [item["captions"] for item in gallery(tmp_path, monkeypatch, Painter())] == [
        ["grey 0"],
        ["also 0"],
        ["grey 22"],
    ]


def test_reconstructor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for item in gallery(tmp_path, monkeypatch, Copier()):
        assert (tmp_path / "gallery" / item["second"]).exists()


def test_enlarged_repeats_pixels() -> None:
    pixels = torch.arange(3 * 4 * 4, dtype=torch.uint8).view(3, 4, 4)
    large = enlarged(pixels)
    assert large.shape == (3, 64, 64)
    assert torch.equal(large[:, ::16, ::16], pixels)
