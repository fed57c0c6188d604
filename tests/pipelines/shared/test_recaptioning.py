"""CapFilt on a shard, with small fakes in place of the three networks."""

import io
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from pipelines.shared import recaptioning
from pipelines.shared.layers import read_layer
from pipelines.shared.recaptioning import RecaptionEntry, RecaptionShard
from pipelines.shared.records import Caption, Sample
from pipelines.shared.shards import FileInfo, describe, write_shard


class Captioner:
    image_px = 8

    def caption(self, image, generators, **decoding):
        assert decoding["top_p"] == 0.9
        return [f"shade {int(torch.rand((), generator=generator) * 1e6)}" for generator in generators]


class Matcher:
    """Believes what mentions a shade, and what is short."""

    image_px = 8

    def match(self, image, captions, owners):
        assert len(owners) == len(captions) >= len(image) > int(owners.max())
        return torch.tensor([0.9 if "shade" in text or len(text) < 6 else 0.1 for text in captions])


class Clip:
    image_px = 16

    def encode_image(self, image):
        assert image.shape[1:] == (3, 16, 16)
        return torch.nn.functional.normalize(torch.ones(len(image), 4), dim=1)

    def encode_text(self, captions):
        return torch.nn.functional.normalize(torch.ones(len(captions), 4), dim=1)


@pytest.fixture
def shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FileInfo:
    runs = {
        "cap": SimpleNamespace(model=Captioner(), sha256="c" * 64),
        "mat": SimpleNamespace(model=Matcher(), sha256="m" * 64),
        "clip": SimpleNamespace(model=Clip(), sha256="k" * 64),
    }
    monkeypatch.setattr(recaptioning, "loaded", lambda key: runs[key])
    handle = io.BytesIO()
    Image.new("RGB", (20, 20), "orange").save(handle, "PNG")
    texts = [("web", "file name 17.png"), ("web", "cat"), ("human", "a long true sentence"), ("web", "noise, noise")]
    samples = [
        Sample(key=f"{i:020x}", extension="png", media=handle.getvalue(), captions=(Caption(text=text, origin=origin),))
        for i, (origin, text) in enumerate(texts)
    ]
    write_shard(tmp_path / "train" / "00000.tar", samples)
    return describe(tmp_path / "train" / "00000.tar", tmp_path, 4)


def rows(tmp_path: Path, shard: FileInfo, batch_size: int, out: str) -> tuple[list[dict], dict]:
    entry = RecaptionEntry(pack="web", captioner="cap", matcher="mat", clip="clip", batch_size=batch_size)
    work = RecaptionShard(entry=entry, round="first", seed=0, pack_folder=tmp_path)
    result = work(shard.as_dict(), tmp_path / out)
    return read_layer(tmp_path / out, FileInfo(**result["layer"])).to_pylist(), result["texts"]


def test_decisions(tmp_path: Path, shard: FileInfo) -> None:
    table, texts = rows(tmp_path, shard, 4, "a")
    kept = {each["text"]: each["kept"] for row in table for each in row["candidates"]}
    assert kept["file name 17.png"] is False
    assert kept["cat"] is True
    assert kept["a long true sentence"] is True, "captions of people stay whatever the matcher says"
    synthetic = [each for row in table for each in row["candidates"] if each["origin"] == "synthetic"]
    assert len(synthetic) == 4
    assert all(each["kept"] and each["model_sha256"] == "c" * 64 for each in synthetic)
    assert dict(synthetic[0]["scores"]) == pytest.approx({"match": 0.9, "clip": 100.0})
    assert texts == {"judged": {"web": 3, "human": 1, "synthetic": 4}, "kept": {"web": 1, "human": 1, "synthetic": 4}}


def test_batches_change_nothing(tmp_path: Path, shard: FileInfo) -> None:
    assert rows(tmp_path, shard, 1, "one")[0] == rows(tmp_path, shard, 3, "three")[0]


@pytest.mark.parametrize("values", [{"threshold": 1.5}, {"num_candidates": 0}, {"batch_size": 0}])
def test_settings_are_checked(values: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        RecaptionEntry(pack="a", captioner="b", matcher="c", clip="d", **values)
