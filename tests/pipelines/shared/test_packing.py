import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.shared import packing
from pipelines.shared.decode import clip_frames, sniff
from pipelines.shared.media import MediaError
from pipelines.shared.packing import OutputShard, PackEntry, PackShard, Part, Plan, Tally, packed, plan_pack
from pipelines.shared.records import Sample
from pipelines.shared.shards import FileInfo, describe, read_shard, write_shard
from tests.pipelines.builders import build_world, captions, clip_item, drawing, encoded, write_crawl


def stored(index: int, **changes) -> Sample:
    values = {
        "key": f"{index:020x}",
        "extension": "png",
        "media": encoded(drawing(index)),
        "captions": captions("a", "b", "c"),
        "facts": {
            "source": "s",
            "url": "u",
            "page_url": "p",
            "sha256": "d",
            "width": 64,
            "height": 64,
            "num_frames": 1,
        },
    }
    return Sample(**{**values, **changes})


@pytest.mark.parametrize("extension", ["jpg", "png", "webp"])
def test_pictures_are_encoded_as_asked(extension):
    found = packed(stored(1), [2, 0], PackEntry(filter="f", size_px=16, extension=extension))
    assert found.extension == sniff(found.media) == extension
    assert [caption.text for caption in found.captions] == ["c", "a"]
    assert found.facts == {
        "source": "s",
        "url": "u",
        "page_url": "p",
        "sha256": "d",
        "width": 16,
        "height": 16,
        "original_width": 64,
        "original_height": 64,
    }


@pytest.mark.parametrize("max_frames,expected", [(10, (6, 8.0)), (3, (3, 8.0 * 2 / 5)), (1, (1, 8.0))])
def test_clips_last_as_long(max_frames, expected):
    item = clip_item("c", [drawing(i) for i in range(6)], captions("a"))
    facts = {"width": 64, "height": 64, "num_frames": 6}
    sample = Sample(key="0" * 20, extension="mp4", media=item.media, captions=item.captions, facts=facts)
    found = packed(sample, [0], PackEntry(filter="f", size_px=16, media="video", max_frames=max_frames))
    frames, rate = clip_frames(found.media)
    assert (len(frames), round(rate, 2)) == (expected[0], round(expected[1], 2))
    assert frames.shape[1:] == (16, 16, 3) and found.facts["num_frames"] == expected[0]


def test_parts_are_merged_by_key_and_broken_samples_counted(tmp_path):
    broken = stored(4, media=b"no picture")
    shards = []
    for name, members in (("a.tar", [stored(1), broken, stored(5)]), ("b.tar", [stored(0), stored(2), stored(3)])):
        shards.append(describe(tmp_path / name, tmp_path, write_shard(tmp_path / name, members)))
    parts = tuple(
        Part(tmp_path, shard, {f"{i:020x}": [0] for i in wanted})
        for shard, wanted in zip(shards, [(1, 4, 5), (0, 3)], strict=True)
    )
    result = PackShard(PackEntry(filter="f", size_px=16))(OutputShard("train/00000.tar", parts), tmp_path / "out")
    written = [int(each.key, 16) for each in read_shard(tmp_path / "out", FileInfo(**result["shard"]))]
    assert written == [0, 1, 3, 5]
    assert result["failed"] == {"type_refused": 1}
    assert result["num_captions"] == {"web": 4, "human": 0, "synthetic": 0}
    assert result["first_key"] == f"{0:020x}"


def test_whatever_packing_a_sample_raises_is_counted(tmp_path, monkeypatch, caplog):
    errors = {1: ValueError("x"), 2: MemoryError(), 3: MediaError("decode_error", "MemoryError"), 4: KeyError("width")}
    errors[3].__cause__ = MemoryError()
    shard = describe(tmp_path / "a.tar", tmp_path, write_shard(tmp_path / "a.tar", [stored(i) for i in range(6)]))

    def failing(sample, picks, entry):
        if error := errors.get(int(sample.key, 16)):
            raise error
        text = "half a pair \ud800" if int(sample.key, 16) == 5 else "whole"
        return replace(packed(sample, picks, entry), captions=captions(text))

    monkeypatch.setattr(packing, "packed", failing)
    output = OutputShard("train/00000.tar", (Part(tmp_path, shard, {f"{i:020x}": [0] for i in range(6)}),))
    result = PackShard(PackEntry(filter="f", size_px=16))(output, tmp_path / "out")
    assert [int(each.key, 16) for each in read_shard(tmp_path / "out", FileInfo(**result["shard"]))] == [0]
    assert result["failed"] == {"sample_error": 3, "out_of_memory": 2}
    assert result["num_captions"]["web"] == 1
    assert sum(line.startswith("sample ") for line in caplog.messages) == 3


def test_a_sample_that_is_not_where_the_facts_say_is_our_mistake(tmp_path):
    shard = describe(tmp_path / "a.tar", tmp_path, write_shard(tmp_path / "a.tar", [stored(1)]))
    output = OutputShard("train/00000.tar", (Part(tmp_path, shard, {f"{9:020x}": [0]}),))
    with pytest.raises(AssertionError, match="lacks samples of its facts layer"):
        PackShard(PackEntry(filter="f", size_px=16))(output, tmp_path / "out")


def test_tally_of_nothing():
    assert list(Tally().seen(iter(()))) == []
    assert Tally().as_dict() == {"first_key": "", "num_captions": {"web": 0, "human": 0, "synthetic": 0}, "failed": {}}


def test_a_task_is_decided_by_its_parts_and_settings():
    entry = PackEntry(filter="f", size_px=16)
    shard = FileInfo(name="00000.tar", num_samples=1, num_bytes=1, sha256="a" * 64)
    part = Part(Path("a"), shard, {"0" * 20: [0]})

    def digest(settings=entry, name="train/00000.tar", **changes):
        return Plan([OutputShard(name, (replace(part, **changes),))]).tasks(settings)[0].digest

    assert digest() == digest(folder=Path("b")) == digest(replace(entry, samples_per_shard=7, filter="g"))
    others = {
        digest(replace(entry, quality=90)),
        digest(name="val/00000.tar"),
        digest(picks={"0" * 20: [1]}),
        digest(picks={"1" * 20: [0]}),
        digest(shard=replace(shard, sha256="b" * 64)),
    }
    assert len(others) == 5 and digest() not in others


def test_the_plan_holds_every_kept_sample_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    build_world(("annotate", "filter"))
    plan = plan_pack(PackEntry(filter="base", size_px=32, samples_per_shard=4))
    keys = [key for shard in plan.shards for part in shard.parts for key in part.picks]
    assert len(keys) == len(set(keys)) == plan.num_in - sum(plan.rejected.values()) == 26
    for split in ("train", "val", "test"):
        ranges = [
            sorted(key for part in shard.parts for key in part.picks)
            for shard in plan.shards
            if shard.name.startswith(split)
        ]
        assert all(len(each) <= 4 for each in ranges)
        assert all(first[-1] < second[0] for first, second in itertools.pairwise(ranges))
    only_web = plan_pack(PackEntry(filter="base", size_px=32, origins=("web",)))
    assert only_web.rejected == {"other_media": 6, "no_caption_of_origins": 1}

    write_crawl("web", [])
    with pytest.raises(ValueError, match="data/crawl/web is not what filter base judged: run that filter again"):
        plan_pack(PackEntry(filter="base", size_px=32))
