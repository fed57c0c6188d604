"""CapFilt on a shard, with small fakes in place of the three networks."""

import io
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from PIL import Image

from pipelines.captioners import CaptionerInput, Written
from pipelines.shared import recaptioning
from pipelines.shared.decode import encode_clip
from pipelines.shared.layers import read_layer
from pipelines.shared.recaption_settings import CaptionerSpec, RecaptionEntry
from pipelines.shared.recaptioning import RecaptionShard
from pipelines.shared.records import Caption, Sample
from pipelines.shared.seeds import derive_seed
from pipelines.shared.shards import FileInfo, describe, read_shard, write_shard


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
        "cap": SimpleNamespace(model=Captioner(), sha256="c" * 64, device="cpu"),
        "mat": SimpleNamespace(model=Matcher(), sha256="m" * 64, device="cpu"),
        "clip": SimpleNamespace(model=Clip(), sha256="k" * 64, device="cpu"),
    }
    monkeypatch.setattr(recaptioning, "loaded", lambda key, device: runs[key])
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


class Writer:
    """Says what its name and the seed are, of one sample that it has no answer, and remembers what it was asked."""

    decoding: ClassVar[dict[str, Any]] = {"top_p": 0.5}

    def __init__(self, name: str, failing: str = "") -> None:
        self.model, self.failing = f"{name[0] * 64}", failing
        self.asked: list[CaptionerInput] = []

    def caption(self, samples):
        self.asked += samples
        return [
            Written(error="http_503")
            if sample.key == self.failing
            else Written(texts=tuple(f"shade {seed % 1000}" for seed in sample.seeds))
            for sample in samples
        ]


def several(tmp_path: Path, shard: FileInfo, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> Any:
    """Rows and result of a round with three further captioners' texts; `two` fails at the third sample."""
    writers = {"one": Writer("one"), "two": Writer("two", failing=f"{2:020x}")}
    monkeypatch.setattr(recaptioning, "built", lambda spec: writers[spec.name])
    specs = tuple(
        CaptionerSpec(name=name, num_candidates=count, module="fake", config=None)
        for name, count in (("one", 2), ("two", 1))
    )
    names = {"pack": "web", "captioner": "cap", "matcher": "mat", "clip": "clip"}
    entry = RecaptionEntry(**names, captioners={"one": {}, "two": {}}, **settings)
    work = RecaptionShard(entry=entry, round="first", seed=0, pack_folder=tmp_path, captioners=specs)
    result = work(shard.as_dict(), tmp_path / "out")
    return read_layer(tmp_path / "out", FileInfo(**result["layer"])).to_pylist(), result, writers


def test_the_union_of_several_captioners(tmp_path: Path, shard: FileInfo, monkeypatch: pytest.MonkeyPatch) -> None:
    table, result, writers = several(tmp_path, shard, monkeypatch)
    for number, row in enumerate(table):
        written = [each for each in row["candidates"] if each["origin"] == "synthetic"]
        places = ["captioner", "one", "one", *([] if number == 2 else ["two"])]
        assert [each["place"] for each in written] == places, "a failed captioner takes nothing from the others"
        assert {each["place"]: each["model_sha256"][0] for each in written if each["place"] != "captioner"} == {
            place: place[0] for place in places[1:]
        }
        for each in written:
            parts = ("recaption", "first", row["key"], *([each["place"]] if each["place"] != "captioner" else []))
            rank = [other for other in written if other["place"] == each["place"]].index(each)
            assert each["seed"] == derive_seed(0, *parts, rank)
            top_p = 0.9 if each["place"] == "captioner" else 0.5
            assert json.loads(each["decoding"])["top_p"] == top_p
        assert row["error"] == ("captioner:http_503" if number == 2 else None)
        assert all(each["seed"] is None for each in row["candidates"] if each["origin"] != "synthetic")
    assert result["failed"] == {"captioner:http_503": 1}
    assert result["writers"]["judged"] == {"captioner": 4, "one": 8, "two": 3}
    assert [len(sample.seeds) for sample in writers["one"].asked] == [2] * 4


def test_a_round_without_the_run(tmp_path: Path, shard: FileInfo, monkeypatch: pytest.MonkeyPatch) -> None:
    table, _, _ = several(tmp_path, shard, monkeypatch, num_candidates=0)
    places = {each["place"] for row in table for each in row["candidates"] if each["origin"] == "synthetic"}
    assert places == {"one", "two"}


def test_equal_texts_stand_once(tmp_path: Path, shard: FileInfo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Writer, "caption", lambda self, given: [Written(texts=("cat",) * len(s.seeds)) for s in given])
    table, result, _ = several(tmp_path, shard, monkeypatch, num_candidates=0)
    assert [[each["text"] for each in row["candidates"]].count("cat") for row in table] == [1] * 4
    assert [each["origin"] for each in table[1]["candidates"]] == ["web"], "it had this text before"
    assert result["writers"]["judged"] == {"one": 3}


def test_the_best_by_clip(tmp_path: Path, shard: FileInfo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Clip, "encode_text", lambda self, texts: torch.tensor([[score(each)] * 4 for each in texts]))
    table, _, _ = several(tmp_path, shard, monkeypatch, best_by_clip=2)
    for row in table:
        judged = [
            each for each in row["candidates"] if each["origin"] != "human" and dict(each["scores"])["match"] > 0.5
        ]
        best = sorted((score(each["text"]) for each in judged), reverse=True)[:2]
        kept = [each for each in judged if each["kept"]]
        assert sorted((score(each["text"]) for each in kept), reverse=True) == best
        assert len(judged) > len(kept) == 2
    human = [each for row in table for each in row["candidates"] if each["origin"] == "human"]
    assert all(each["kept"] for each in human)


def score(text: str) -> float:
    return (sum(text.encode()) * 7919 % 997) / 997


def test_memory_that_does_not_suffice(tmp_path: Path, shard: FileInfo, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = rows(tmp_path, shard, 4, "whole")[0]
    asked = []

    def match(self, image, captions, owners):
        asked.append(len(image))
        if len(image) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return Matcher.match_all(self, image, captions, owners)

    monkeypatch.setattr(Matcher, "match_all", Matcher.match, raising=False)
    monkeypatch.setattr(Matcher, "match", match)
    assert rows(tmp_path, shard, 4, "halves")[0] == whole
    assert asked == [4, 2, 2]


def test_what_cannot_be_done_is_a_row_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shard) -> None:
    whole = rows(tmp_path, shard, 4, "whole")[0]
    samples = list(read_shard(tmp_path, shard))
    samples[1] = replace(samples[1], media=b"no picture")
    samples[2] = replace(samples[2], captions=(*samples[2].captions, Caption(text="big", origin="web")))
    write_shard(tmp_path / "train" / "00001.tar", samples)
    damaged = describe(tmp_path / "train" / "00001.tar", tmp_path, 4)

    def match(self, image, captions, owners):
        if "big" in captions:
            raise MemoryError
        return Matcher.match_all(self, image, captions, owners)

    monkeypatch.setattr(Matcher, "match_all", Matcher.match, raising=False)
    monkeypatch.setattr(Matcher, "match", match)
    entry = RecaptionEntry(pack="web", captioner="cap", matcher="mat", clip="clip", batch_size=4)
    result = RecaptionShard(entry=entry, round="first", seed=0, pack_folder=tmp_path)(damaged.as_dict(), tmp_path / "d")
    table = read_layer(tmp_path / "d", FileInfo(**result["layer"])).to_pylist()
    assert [row["error"] for row in table] == [None, "type_refused", "out_of_memory", None]
    assert [table[row]["candidates"] for row in (0, 3)] == [whole[row]["candidates"] for row in (0, 3)]
    assert [(each["text"], each["kept"]) for each in table[1]["candidates"]] == [("cat", False)]
    left = [(each["text"], each["kept"], each["scores"]) for each in table[2]["candidates"]]
    assert left == [("a long true sentence", True, []), ("big", False, [])]
    assert result["failed"] == {"type_refused": 1, "out_of_memory": 1}
    assert sum(result["texts"]["judged"].values()) == 4, "of the two others"


def test_clips(tmp_path: Path, shard: FileInfo, monkeypatch: pytest.MonkeyPatch) -> None:
    """A single text is about the middle frame; all frames judge it."""
    tones = np.repeat(np.arange(0, 250, 50, dtype=np.uint8), 16 * 16 * 3).reshape(5, 16, 16, 3)
    clip = Sample(key="0" * 20, extension="mp4", media=encode_clip(tones, 5.0), captions=())
    described: list[float] = []

    def caption(self, image, generators, **decoding):
        described.extend(((image.mean(dim=(1, 2, 3)) + 1) * 127.5).tolist())
        return [f"shade {n}" for n in range(len(image))]

    monkeypatch.setattr(Captioner, "caption", caption)
    monkeypatch.setattr(
        Matcher, "match", lambda self, image, captions, owners: image[owners].mean(dim=(1, 2, 3)) / 2 + 0.5
    )
    write_shard(tmp_path / "train" / "00001.tar", [clip])
    info = describe(tmp_path / "train" / "00001.tar", tmp_path, 1)
    for count, frames in ((1, [100]), (2, [0, 200])):
        described.clear()
        names = {"pack": "web", "captioner": "cap", "matcher": "mat", "clip": "clip"}
        entry = RecaptionEntry(**names, num_candidates=count, num_frames=3)
        work = RecaptionShard(entry=entry, round="first", seed=0, pack_folder=tmp_path)
        result = work(info.as_dict(), tmp_path / "clips")
        (row,) = read_layer(tmp_path / "clips", FileInfo(**result["layer"])).to_pylist()
        assert described == pytest.approx(frames, abs=6)
        scores = [dict(each["scores"])["match"] for each in row["candidates"]]
        assert scores == pytest.approx([100 / 255] * count, abs=0.03)


def test_every_model_runs_where_the_round_says(
    tmp_path: Path, shard: FileInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    runs = recaptioning.loaded

    def loaded(key: str, device: str) -> Any:
        asked.append((key, device))
        return runs(key, device)

    monkeypatch.setattr(recaptioning, "loaded", loaded)
    entry = RecaptionEntry(pack="web", captioner="cap", matcher="mat", clip="clip", device="auto")
    RecaptionShard(entry=entry, round="first", seed=0, pack_folder=tmp_path)(shard.as_dict(), tmp_path / "auto")
    assert set(asked) == {("cap", "auto"), ("mat", "auto"), ("clip", "auto")}


def test_a_worker_without_the_device_says_so(tmp_path: Path, shard: FileInfo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    entry = RecaptionEntry(pack="web", captioner="cap", matcher="mat", clip="clip", device="cuda")
    work = RecaptionShard(entry=entry, round="first", seed=0, pack_folder=tmp_path)
    with pytest.raises(ValueError, match="recaption: device is cuda, and PyTorch sees no GPU here"):
        work(shard.as_dict(), tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_pictures_go_to_the_captioner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    class Elsewhere(Captioner):
        def caption(self, image, generators, **decoding):
            seen.append(image.device.type)
            return ["a"] * len(generators)

    run = SimpleNamespace(model=Elsewhere(), sha256="c" * 64, device="meta")
    given = CaptionerInput(key="0" * 20, frames=(Image.new("RGB", (9, 9)),), seeds=(1, 2))
    assert recaptioning.RunCaptioner(run, {}).caption([given]) == [Written(texts=("a", "a"))]
    assert seen == ["meta"]
