import importlib
import io
import shutil
import sys
from collections import Counter
from contextlib import nullcontext
from dataclasses import asdict, replace
from types import ModuleType, SimpleNamespace

import numpy as np
import open_clip
import pytest
import webdataset
from PIL import Image

from pipelines.pack import run
from pipelines.shared import packing
from pipelines.shared.decode import clip_frames
from pipelines.shared.files import digest_file, digest_tree, file_digests
from pipelines.shared.layers import write_layer
from pipelines.shared.manifests import Counts, Manifest, manifest_digest, read_manifest, write_manifest
from pipelines.shared.recaptioning import CANDIDATES_SCHEMA
from pipelines.shared.records import Caption
from pipelines.shared.resize import resized
from pipelines.shared.shards import describe, read_shard
from pipelines.shared.stage import DATA, STATE, StageRun
from tests.pipelines.builders import build_world, drawing, key_of

PACK = DATA / "pack" / "pictures"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("world"))
        params = build_world()
        write_round("first")
        yield params


def samples(folder=PACK):
    manifest = read_manifest(folder)
    return {sample.key: (info.name, sample) for info in manifest.shards for sample in read_shard(folder, info)}


def write_round(name: str, pack: str = "pictures") -> None:
    """A recaption round that keeps the synthetic caption of every sample whose key is even, and nothing of others."""
    folder, source = DATA / "recaption" / name, DATA / "pack" / pack
    layers = []
    for info in read_manifest(source).shards:
        if info.name.startswith("test/"):
            continue
        rows = []
        for sample in read_shard(source, info):
            keep = int(sample.key, 16) % 2 == 0
            old = [{**caption.as_dict(), "kept": False} for caption in sample.captions]
            new = Caption(
                text="written", origin="synthetic", place="captioner", model_sha256="c" * 64, scores={"match": 0.9}
            )
            rows.append({"key": sample.key, "candidates": [*old, {**new.as_dict(), "kept": keep}]})
        path = folder / info.name.replace(".tar", ".parquet")
        layers.append(describe(path, folder, write_layer(path, rows, CANDIDATES_SCHEMA)))
    total = sum(layer.num_samples for layer in layers)
    manifest = Manifest(
        stage="recaption",
        instance=name,
        settings_digest="0" * 64,
        inputs={f"pack/{pack}": manifest_digest(source)},
        counts=Counts(num_in=total, kept=total),
        layers=tuple(layers),
    )
    write_manifest(folder, manifest)


def test_nothing_is_lost_between_filter_and_pack(world):
    manifest = read_manifest(PACK)
    assert manifest.counts.as_dict() == {"in": 32, "kept": 26, "rejected": {"other_media": 6}, "failed": {}}
    assert manifest.details["splits"] == {
        split: sum(name.startswith(split) for name, _ in samples().values()) for split in ("train", "val", "test")
    }
    decided = read_manifest(DATA / "filter" / "base").details["splits"]
    assert sum(decided.values()) == 32
    assert len(samples()) == 26
    captions = Counter(caption.origin for _, sample in samples().values() for caption in sample.captions)
    assert manifest.details["num_captions"] == {"web": captions["web"], "human": 1, "synthetic": 0}
    assert captions["web"] > 40
    assert (manifest.details["media"], manifest.details["size_px"]) == ("image", 32)


def test_shards_are_bounded_sorted_and_start_where_the_manifest_says(world):
    manifest = read_manifest(PACK)
    for split in ("train", "val", "test"):
        infos = manifest.files(f"{split}/")
        assert all(0 < info.num_samples <= 5 for info in infos)
        keys = [sample.key for info in infos for sample in read_shard(PACK, info)]
        assert keys == sorted(keys)
        firsts = [next(read_shard(PACK, info)).key for info in infos]
        assert firsts == [manifest.details["first_key"][info.name] for info in infos]


def test_a_sample_as_packed(world):
    name, sample = samples()[key_of("web", "good7")]
    assert name.split("/")[0] in ("train", "val", "test")
    assert [caption.text for caption in sample.captions] == ["picture number 7", "a word or two"]
    assert sample.facts["url"] == "http://web.test/good7"
    assert (sample.facts["width"], sample.facts["height"], sample.facts["original_width"]) == (32, 32, 64)
    expected = np.asarray(resized(drawing(7), 32, "border"), dtype=int)
    found = np.asarray(Image.open(io.BytesIO(sample.media)), dtype=int)
    assert np.abs(found - expected).mean() < 6


def test_metadata_of_the_original_is_gone(world):
    _, sample = samples()[key_of("web", "exif")]
    assert b"where I live" not in sample.media
    assert not Image.open(io.BytesIO(sample.media)).getexif()
    assert "sha256" in sample.facts and sample.extension == "jpg"


def test_clips_are_packed_with_their_duration(world):
    folder = DATA / "pack" / "clips"
    packed = samples(folder)
    assert len(packed) == 6
    _, sample = packed[key_of("moving", "clip0")]
    frames, frames_per_sec = clip_frames(sample.media)
    assert frames.shape == (4, 32, 32, 3)
    assert frames_per_sec == pytest.approx(8.0 * 3 / 5, abs=0.01)
    assert sample.facts["num_frames"] == 4
    first = np.asarray(resized(drawing(100), 32, "border"), dtype=int)
    assert np.abs(frames[0].astype(int) - first).mean() < 12
    assert read_manifest(folder).counts.rejected == {"other_media": 26}


def test_webdataset_loads_it(world):
    urls = [str(PACK / info.name) for info in read_manifest(PACK).shards]
    loaded = list(webdataset.WebDataset(urls, shardshuffle=False).decode("pil").to_tuple("jpg", "txt", "json"))
    assert len(loaded) == 26
    image, text, facts = loaded[0]
    assert image.size == (32, 32) and text == facts["captions"][0]["text"]


@pytest.fixture
def open_clip_data(monkeypatch):
    """open_clip's training data module; it imports pandas for CSV files, which is not needed here."""
    monkeypatch.setitem(sys.modules, "pandas", ModuleType("pandas"))
    return importlib.import_module("open_clip_train.data")


def test_open_clips_own_data_path_loads_it(world, open_clip_data):
    """Its evaluation path; the training path reads the same way, but needs the webdataset 0.2 that open_clip pins."""
    train = read_manifest(PACK).files("train/")
    urls = "::".join(str(PACK / info.name) for info in train)
    num_samples = sum(info.num_samples for info in train)
    arguments = SimpleNamespace(
        train_data=urls,
        val_data=urls,
        train_num_samples=num_samples,
        val_num_samples=num_samples,
        train_data_upsampling_factors=None,
        dataset_resampled=False,
        seed=0,
        batch_size=1,
        workers=0,
        world_size=1,
    )
    info = open_clip_data.get_wds_dataset(
        arguments, np.asarray, is_train=False, tokenizer=open_clip.get_tokenizer("ViT-B-32")
    )
    batches = list(info.dataloader)
    assert len(batches) == num_samples
    images, texts = batches[0]
    assert tuple(images.shape) == (1, 32, 32, 3) and tuple(texts.shape) == (1, 77)


def test_workers_change_nothing(world, monkeypatch):
    monkeypatch.setenv("VIGNETTE_NO_CACHE", "1")
    before = digest_tree(PACK)
    beam = {"direct_running_mode": "multi_threading", "direct_num_workers": 2}
    run(StageRun(stage="pack", key="pictures", params={**world, "beam": beam}))
    assert digest_tree(PACK) == before


@pytest.mark.parametrize("key", ["pictures", "again"])
def test_unchanged_shards_come_from_the_cache(world, caplog, key):
    repacked(world)
    before = digest_tree(DATA / "pack" / key)
    tasks = len(read_manifest(PACK).shards)
    caplog.set_level("INFO")
    caplog.clear()
    params = {**world, "repacks": {"again": {"pack": "pictures", "recaption": "first"}}}
    run(StageRun(stage="pack", key=key, params=params))
    assert f"pack {key}: {tasks} of {tasks} shards come from the cache" in caplog.text
    assert digest_tree(DATA / "pack" / key) == before


def test_other_sizes_come_from_no_cache(world, caplog):
    caplog.set_level("INFO")
    entry = {**world["packs"]["pictures"], "size_px": 16}
    run(StageRun(stage="pack", key="small", params={**world, "packs": {"small": entry}}))
    assert "from the cache" not in caplog.text
    entry = {**entry, "samples_per_shard": 9}
    run(StageRun(stage="pack", key="small", params={**world, "packs": {"small": entry}}))
    whole = digest_tree(DATA / "pack" / "small")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VIGNETTE_NO_CACHE", "1")
        run(StageRun(stage="pack", key="small", params={**world, "packs": {"small": entry}}))
    assert digest_tree(DATA / "pack" / "small") == whole


def repacked(world, **settings):
    entry = {"pack": "pictures", "recaption": "first", **settings}
    run(StageRun(stage="pack", key="again", params={**world, "repacks": {"again": entry}}))
    return DATA / "pack" / "again"


def test_a_repack_has_the_same_pixels_and_new_captions(world):
    folder = repacked(world)
    old, new = samples(), samples(folder)
    assert {key for key in old if old[key][0].startswith("test/")} <= set(new)
    for key, (name, sample) in new.items():
        assert (name, sample.media, sample.facts) == (old[key][0], old[key][1].media, old[key][1].facts)
        if not name.startswith("test/"):
            assert [asdict(caption) for caption in sample.captions] == [
                {
                    "text": "written",
                    "origin": "synthetic",
                    "place": "captioner",
                    "model_sha256": "c" * 64,
                    "scores": {"match": 0.9},
                }
            ]
    manifest = read_manifest(folder)
    odd = [key for key, (name, _) in old.items() if int(key, 16) % 2 and not name.startswith("test/")]
    assert odd and set(old) - set(new) == set(odd)
    assert manifest.counts.rejected == {"no_caption_kept": len(odd)}
    assert manifest.details["media"] == "image" and manifest.details["num_captions"]["synthetic"] > 0


def test_the_test_split_is_untouched(world):
    folder = repacked(world)
    names = [info.name for info in read_manifest(PACK).files("test/")]
    assert names and all(digest_file(folder / name) == digest_file(PACK / name) for name in names)
    assert [info for info in read_manifest(folder).files("test/")] == list(read_manifest(PACK).files("test/"))


def test_origins_are_chosen(world):
    manifest = read_manifest(repacked(world, origins=("web",)))
    assert set(manifest.details["splits"]) == {"train", "val", "test"}
    assert manifest.details["splits"]["train"] == manifest.details["splits"]["val"] == 0


def test_a_round_of_another_pack_is_refused(world):
    write_round("other", pack="pictures")
    manifest = read_manifest(DATA / "recaption" / "other")
    write_manifest(
        DATA / "recaption" / "other", replace(manifest, inputs={**manifest.inputs, "pack/pictures": "0" * 64})
    )
    with pytest.raises(ValueError, match="was not made from data/pack/pictures as it is now: run that round again"):
        repacked(world, recaption="other")


@pytest.mark.parametrize(
    "key,change,message",
    [
        ("nothing", {}, "packs.nothing does not exist"),
        ("pictures", {"repacks": {"pictures": {}}}, "a key of both packs and repacks"),
        ("x", {"packs": {"x": {"filter": "base", "size_px": 4}}}, "size_px must be from 16 to 4096, got 4"),
        ("x", {"packs": {"x": {"filter": "base", "size_px": 33, "media": "video"}}}, "size_px must be even for clips"),
        ("x", {"packs": {"x": {"filter": "base", "size_px": 32, "resize": "stretch"}}}, "resize must be one of border"),
        ("x", {"packs": {"x": {"filter": "base", "size_px": 32, "origins": ("me",)}}}, "origins must be some of web"),
        ("x", {"packs": {"x": {"filter": "bass", "size_px": 32}}}, "data/filter/bass/manifest.json is missing"),
    ],
)
def test_mistakes_are_named(world, key, change, message):
    with pytest.raises(ValueError, match=message):
        run(StageRun(stage="pack", key=key, params={**world, **change}))


@pytest.mark.parametrize("most", [0.01, 1.0], ids=["refused", "allowed"])
def test_memory_that_sufficed_later(world, monkeypatch, most):
    """Neither scratch nor cache hand on what failed for want of memory."""
    whole, open_image = file_digests(PACK, "*.tar"), packing.open_image

    spared = []

    def fails(media):
        if most < 1 or (spared and media != spared[0]):
            raise MemoryError
        spared.append(media)
        return open_image(media)

    params = {**world, "packs": {"pictures": {**world["packs"]["pictures"], "max_failed_frac": most}}}
    shutil.rmtree(STATE / "cache")
    monkeypatch.setattr(packing, "open_image", fails)
    with pytest.raises(ValueError, match=r"failed, .*: out_of_memory \d+") if most < 1 else nullcontext():
        run(StageRun(stage="pack", key="pictures", params=params))
    monkeypatch.setattr(packing, "open_image", open_image)
    run(StageRun(stage="pack", key="pictures", params=params))
    assert file_digests(PACK, "*.tar") == whole and read_manifest(PACK).counts.failed == {}
