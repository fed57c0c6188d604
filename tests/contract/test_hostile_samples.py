"""One sample never ends a stage: each stage's work on samples that strangers have broken, every one of them a row."""

import json
from types import SimpleNamespace

import av
import numpy as np
import pytest
import torch

from pipelines import annotate, filter, pack
from pipelines.annotators import AnnotatorInput
from pipelines.shared import recaptioning
from pipelines.shared.annotating import AnnotateShard, AnnotatorSpec, annotate_samples, annotation_schema, storable
from pipelines.shared.evaluation.split import HeldOut
from pipelines.shared.examine import Media, examine
from pipelines.shared.isolating import SAMPLE_ERROR, Trouble
from pipelines.shared.judging import sample_frames
from pipelines.shared.layers import read_layer
from pipelines.shared.manifests import read_manifest
from pipelines.shared.media import MediaError, MediaLimits
from pipelines.shared.packing import OutputShard, PackEntry, PackShard, Part
from pipelines.shared.params import plugin, plugin_names
from pipelines.shared.pixels import clip_pixels, image_pixels
from pipelines.shared.reasons import status_of
from pipelines.shared.recaption_settings import RecaptionEntry
from pipelines.shared.recaptioning import RecaptionShard
from pipelines.shared.records import Sample
from pipelines.shared.repacking import RepackedShard, RepackEntry, RepackShard
from pipelines.shared.shards import FileInfo, describe, read_shard, write_shard
from pipelines.shared.stage import DATA
from pipelines.shared.texts import clean_text
from tests.contract.hostile import FACTS, HALVES, TEXTS, broken_media, hostile_samples, storable_samples
from tests.contract.test_annotators import NEEDS_FILES
from tests.pipelines.builders import Item, captions, drawing, encoded, picture_item, stage_run, write_crawl

WITHOUT_MODELS = [
    name
    for name in plugin_names("pipelines.annotators")
    if name not in {*NEEDS_FILES, "embeddings", "image_text", "language", "nsfw"}
]


@pytest.fixture(scope="module")
def hostile():
    return hostile_samples()


@pytest.mark.parametrize("name", broken_media())
def test_the_crawl_examines_anything(name):
    _, media = broken_media()[name]
    try:
        assert isinstance(examine(media, MediaLimits()), Media)
    except MediaError as error:
        assert status_of(error.reason) in ("rejected", "failed")


@pytest.mark.parametrize("text", [*TEXTS.values(), *HALVES.values()], ids=[*TEXTS, *HALVES])
def test_a_cleaned_caption_fits_shards_and_layers(text):
    found = clean_text(text)
    assert (len(found) <= 2000 and found.encode() and clean_text(found) == found) or not found


@pytest.mark.parametrize("name", WITHOUT_MODELS)
def test_annotators(hostile, name):
    module = plugin("pipelines.annotators", name, "annotators")
    annotator, trouble = module.Annotator(module.Config()), Trouble()
    rows = annotate_samples(hostile.values(), [annotator], trouble)
    rows = storable(rows, annotation_schema([annotator], []), trouble)
    assert [row["key"] for row in rows] == [sample.key for sample in hostile.values()]
    for place in (0, -1):
        assert not rows[place]["annotate_error"]
        assert set(annotator.columns) < set(rows[place])


class Explosive:
    """Raises another exception on every sample whose caption asks for it."""

    columns = {"ok": "int32"}  # noqa: RUF012
    batch_size = 4
    ERRORS = (ValueError, MemoryError, UnicodeError, RecursionError, SystemError, np.linalg.LinAlgError, av.FFmpegError)

    def annotate(self, samples: list[AnnotatorInput]) -> list[dict]:
        for sample in samples:
            for caption in sample.captions:
                if caption.text.isdigit():
                    kind = self.ERRORS[int(caption.text)]
                    raise kind(1, "x") if kind is av.FFmpegError else kind("x")
        return [{"ok": 1} for _ in samples]


def test_annotate_counts_what_annotators_raise_and_ends_above_the_share(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(AnnotatorSpec, "build", lambda spec: Explosive())
    items = [picture_item(f"good{i}", drawing(i), captions("a b")) for i in range(3)]
    items += [picture_item(f"bad{i}", drawing(i), captions(str(i))) for i in range(len(Explosive.ERRORS))]
    write_crawl("web", items)
    only = {"explosive": {"module": "phash"}}
    params = {"sources": {"web": {}}, "annotators": only, "annotate": {"max_failed_frac": 0.75}}
    annotate.run(stage_run("annotate", "web", params))
    counts = read_manifest(DATA / "annotate" / "web").counts
    assert (counts.num_in, counts.kept) == (10, 3)
    assert counts.failed == {SAMPLE_ERROR: 6, "out_of_memory": 1}
    with pytest.raises(ValueError, match=r"annotate web: 7 of 10 failed, more than max_failed_frac = 0\.5"):
        annotate.run(stage_run("annotate", "web", {**params, "annotate": {"max_failed_frac": 0.5}}))


def shard_of(samples, folder) -> FileInfo:
    return describe(folder / "0.tar", folder, write_shard(folder / "0.tar", samples))


def test_annotate_has_a_row_for_every_sample(hostile, tmp_path):
    samples = storable_samples(hostile)
    specs = tuple(
        AnnotatorSpec(name, plugin("pipelines.annotators", name, "annotators").Config()) for name in WITHOUT_MODELS
    )
    result = AnnotateShard(folder=tmp_path, specs=specs, taken=())(
        shard_of(samples.values(), tmp_path).as_dict(), tmp_path / "out"
    )
    table = read_layer(tmp_path / "out", FileInfo(**result["layer"]))
    assert table["key"].to_pylist() == [sample.key for sample in samples.values()]
    errors = dict(zip(samples, table["annotate_error"].to_pylist(), strict=True))
    assert not errors["good first"] and not errors["good last"]
    assert {name for name in broken_media() if not errors[name]} <= {"clip of two sizes", "another picture's name"}
    assert sum(result["failed"].values()) == sum(map(bool, errors.values()))


def packed_shard(samples, folder, media="image") -> tuple[dict, FileInfo]:
    """What packing all samples of a crawl's shard gives."""
    own = [sample for sample in samples if sample.is_video == (media == "video")]
    info = shard_of(own, folder)
    picks = {sample.key: list(range(len(sample.captions))) for sample in own}
    work = PackShard(PackEntry(filter="f", size_px=32, media=media, max_frames=4))
    result = work(OutputShard("test/0.tar", (Part(folder, info, picks),)), folder / "pack")
    return result, FileInfo(**result["shard"])


@pytest.mark.parametrize("media", ["image", "video"])
def test_what_pack_takes_all_later_stages_read(hostile, tmp_path, media):
    samples = storable_samples(hostile)
    result, info = packed_shard(samples.values(), tmp_path, media)
    own = [name for name, sample in samples.items() if sample.is_video == (media == "video")]
    assert info.num_samples + sum(result["failed"].values()) == len(own)
    found = {sample.key: sample for sample in read_shard(tmp_path / "pack", info)}
    assert result["failed"]
    for sample in found.values():
        if media == "image":
            assert image_pixels(sample, 16).shape == (3, 16, 16)
        else:
            assert clip_pixels(sample, 16, 4)[0].shape == (4, 3, 16, 16)
        assert sample_frames(sample, 2)
    kept = {name for name in own if samples[name].key in found}
    assert kept >= {name for name in own if name.startswith(("good", "text"))}


class Picky:
    """A matcher, a CLIP and a captioner in one, that fails on captions it does not like."""

    image_px = 16

    def __init__(self) -> None:
        self.calls = 0

    def match(self, image, texts, owners):
        for text in texts:
            if not text.strip() or len(text) > 2000:
                raise IndexError("index out of range in self")
        return torch.full((len(texts),), 0.9)

    def encode_image(self, image):
        return torch.nn.functional.normalize(torch.ones(len(image), 4), dim=1)

    def encode_text(self, texts):
        return torch.nn.functional.normalize(torch.ones(len(texts), 4), dim=1)

    def caption(self, image, generators, **decoding):
        return ["half a pair \ud800" if self.odd(image) else "written" for _ in generators]

    def odd(self, image) -> bool:
        self.calls += 1
        return self.calls % 3 == 0


@pytest.fixture
def recaptioned(hostile, tmp_path, monkeypatch):
    """The recaption layer of a pack's shard whose samples are hostile."""
    run = SimpleNamespace(model=Picky(), sha256="c" * 64, device="cpu")
    monkeypatch.setattr(recaptioning, "loaded", lambda key, device: run)
    named = {name: sample for name, sample in storable_samples(hostile).items() if not name.startswith("many")}
    info = shard_of(named.values(), tmp_path)
    entry = RecaptionEntry(
        pack="web", captioner="cap", matcher="mat", clip="clip", batch_size=4, num_frames=2, num_audited=8
    )
    work = RecaptionShard(entry=entry, round="first", seed=0, pack_folder=tmp_path)
    return named, info, work(info.as_dict(), tmp_path / "recaption")


def test_recaption_has_a_row_for_every_sample(recaptioned, tmp_path):
    named, _, result = recaptioned
    rows = read_layer(tmp_path / "recaption", FileInfo(**result["layer"])).to_pylist()
    errors = {name: row["error"] for name, row in zip(named, rows, strict=True)}
    assert [row["key"] for row in rows] == [sample.key for sample in named.values()]
    assert errors["text: empty"] == errors["text: marks"] == SAMPLE_ERROR
    assert sum(result["failed"].values()) == sum(map(bool, errors.values())) < len(rows)


def test_repack_takes_what_recaption_left(recaptioned, tmp_path):
    named, info, result = recaptioned
    entry = RepackEntry(pack="web", recaption="first", threshold=0.0)
    work = RepackShard(entry=entry, pack_folder=tmp_path, recaption_folder=tmp_path / "recaption")
    done = work(RepackedShard(info, FileInfo(**result["layer"])), tmp_path / "repack")
    assert done["shard"]["num_samples"] + sum(done["rejected"].values()) == len(named)


def test_a_setting_that_fits_no_sample_is_one_line(hostile, tmp_path, monkeypatch):
    """A captioner's ValueError on all samples is not theirs."""

    def caption(image, generators, **decoding):
        raise ValueError("top_k does not fit the model")

    model = Picky()
    model.caption = caption
    run = SimpleNamespace(model=model, sha256="c" * 64, device="cpu")
    monkeypatch.setattr(recaptioning, "loaded", lambda key, device: run)
    info = shard_of([hostile["good first"], hostile["good last"]], tmp_path)
    entry = RecaptionEntry(pack="web", captioner="cap", matcher="mat", clip="clip", batch_size=4)
    with pytest.raises(ValueError, match="top_k does not fit the model"):
        RecaptionShard(entry=entry, round="first", seed=0, pack_folder=tmp_path)(info.as_dict(), tmp_path / "out")


def test_stages_one_after_the_other(tmp_path, monkeypatch):
    """From a crawl that took what breaks later to held-out samples that are read."""
    monkeypatch.chdir(tmp_path)
    items = [picture_item(f"good{i}", drawing(i), captions(f"good picture {i}")) for i in range(12)]
    for number, (extension, media) in enumerate(broken_media().values()):
        is_clip = extension == "mp4"
        items.append(
            Item(
                name=f"bad{number}",
                media=media,
                extension=extension,
                size=(64, 64),
                num_frames=6 if is_clip else 1,
                captions=captions(f"a bad one {number}"),
            )
        )
    items += [
        picture_item(f"text{number}", drawing(100 + number), captions(clean_text(text)))
        for number, text in enumerate({**TEXTS, **HALVES}.values())
    ]
    write_crawl("web", items)
    params = {
        "seed": 0,
        "sources": {"web": {}},
        "annotate": {"max_failed_frac": 1.0},
        "filters": {
            "all": {
                "sources": ("web",),
                "rules": {"patterns": {"module": "caption_patterns", "patterns": (r"(?i)\.png$",)}},
                "split": {"val": 0.2, "test": 0.4},
            }
        },
        "packs": {"pictures": {"filter": "all", "size_px": 32}},
    }
    annotate.run(stage_run("annotate", "web", params))
    filter.run(stage_run("filter", "all", params))
    pack.run(stage_run("pack", "pictures", params))
    annotated, packed = read_manifest(DATA / "annotate" / "web"), read_manifest(DATA / "pack" / "pictures")
    assert annotated.counts.num_in == len(items) and annotated.counts.failed
    assert packed.counts.kept + sum(packed.counts.rejected.values()) == packed.counts.num_in >= 12
    held_out = HeldOut.load(DATA / "pack" / "pictures", ["web"])
    assert len(held_out.images(16)) == len(held_out.samples)


def test_members_that_are_not_utf_8_name_their_sample(tmp_path):
    """No stage of ours writes such a shard: it is refused whole, by the sample's key."""
    sample = Sample(key="0" * 20, extension="png", media=encoded(drawing(1)), captions=captions("a"), facts=FACTS)
    info = shard_of([sample], tmp_path)
    path = tmp_path / info.name
    path.write_bytes(path.read_bytes().replace(json.dumps("s").encode(), b'"\xff"', 1))
    with pytest.raises(ValueError, match=rf"{'0' * 20}\.json is not a sample's: UnicodeDecodeError"):
        list(read_shard(tmp_path, describe(path, tmp_path, 1)))
