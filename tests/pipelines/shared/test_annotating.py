import numpy as np
import pyarrow
import pytest
from PIL import Image

from pipelines.annotators import FRAME_COUNTS, NO_PIXELS, AnnotatorInput
from pipelines.shared import annotating
from pipelines.shared.annotating import (
    AnnotateSettings,
    AnnotateShard,
    AnnotatorSpec,
    annotate_samples,
    annotation_schema,
    annotator_specs,
    arrow_type,
    decode_sample,
    storable,
)
from pipelines.shared.decode import evenly_spaced
from pipelines.shared.isolating import Trouble
from pipelines.shared.layers import read_layer
from pipelines.shared.manifests import read_manifest
from pipelines.shared.media import MediaError
from pipelines.shared.records import Caption, Sample
from pipelines.shared.shards import FileInfo
from pipelines.shared.stage import DATA
from tests.pipelines.builders import ANNOTATORS, captions, clip_item, drawing, encoded, picture_item, write_crawl


class Recording:
    """An annotator that notes its batches."""

    def __init__(self, batch_size: int, column: str = "seen", kind: str = "int32") -> None:
        self.columns, self.batch_size, self.column = {column: kind}, batch_size, column
        self.batches: list[list[str]] = []

    def annotate(self, samples: list[AnnotatorInput]) -> list[dict]:
        self.batches.append([sample.key for sample in samples])
        return [{self.column: len(self.batches)} for _ in samples]


def samples(count: int, broken: tuple[int, ...] = ()) -> list[Sample]:
    return [
        Sample(
            key=f"{i:020x}",
            extension="png",
            media=b"no picture" if i in broken else encoded(drawing(i, 8, 8)),
            captions=(Caption(text="a", origin="web"),),
        )
        for i in range(count)
    ]


def test_each_annotator_has_batches_of_its_own_size():
    annotators = Recording(3, "three"), Recording(4, "four")
    rows = annotate_samples(samples(10), annotators)
    assert [len(batch) for batch in annotators[0].batches] == [3, 3, 3, 1]
    assert [len(batch) for batch in annotators[1].batches] == [4, 4, 2]
    assert [row["three"] for row in rows] == [1, 1, 1, 2, 2, 2, 3, 3, 3, 4]


def test_what_does_not_decode_is_a_row_with_a_reason():
    annotator = Recording(2)
    rows = annotate_samples(samples(3, broken=(1,)), [annotator])
    assert [row["annotate_error"] for row in rows] == ["", "type_refused", ""]
    assert "seen" not in rows[1]
    assert annotator.batches == [[f"{0:020x}", f"{2:020x}"]]


class Limited(Recording):
    """Takes no batch above a size, and some samples not at all."""

    def __init__(self, most: int, column: str = "seen", never: tuple[int, ...] = ()) -> None:
        super().__init__(4, column)
        self.most, self.never = most, {f"{i:020x}" for i in never}

    def annotate(self, samples: list[AnnotatorInput]) -> list[dict]:
        super().annotate(samples)
        if len(samples) > self.most or self.never & {sample.key for sample in samples}:
            raise MemoryError("no more")
        return [{self.column: int(sample.key, 16)} for sample in samples]


def test_memory_that_does_not_suffice_for_a_batch():
    small = Limited(1)
    assert annotate_samples(samples(6), [small]) == annotate_samples(samples(6), [Limited(4)])
    assert [len(batch) for batch in small.batches] == [4, 2, 1, 1, 2, 1, 1, 2, 1, 1]


def test_what_does_not_fit_alone_is_a_row_without_values():
    rows = annotate_samples(samples(6), [Limited(4, "a", never=(1,)), Limited(4, "b", never=(4,)), Recording(3, "c")])
    assert rows[1] == {"key": f"{1:020x}", "annotate_error": "out_of_memory"}
    assert rows[4] == {"key": f"{4:020x}", "annotate_error": "out_of_memory"}
    for i in (0, 2, 3, 5):
        assert (rows[i]["annotate_error"], rows[i]["a"], rows[i]["b"]) == ("", i, i)


@pytest.mark.parametrize("tries", [1, 2])
def test_a_picture_that_does_not_fit_while_others_wait(monkeypatch, tries):
    """What waits is annotated, so that its pictures go; then the picture is decoded once more."""
    whole, failures = annotate_samples(samples(3), [Limited(4)]), iter([True] * tries)

    def decode(sample, num_frames=0):
        if sample.key == f"{1:020x}" and next(failures, False):
            raise MediaError("decode_error", "MemoryError") from MemoryError()
        return decode_sample(sample, num_frames)

    monkeypatch.setattr(annotating, "decode_sample", decode)
    annotator = Limited(4)
    rows = annotate_samples(samples(3), [annotator])
    lost = {"key": f"{1:020x}", "annotate_error": "out_of_memory"}
    assert rows == (whole if tries == 1 else [whole[0], lost, whole[2]])
    assert annotator.batches[0] == [f"{0:020x}"]


def test_wrong_columns_and_lengths_are_our_mistake():
    annotator = Recording(1)
    annotator.columns = {"other": "int32"}
    with pytest.raises(AssertionError, match="returned the columns"):
        annotate_samples(samples(1), [annotator])
    lists = Recording(1, kind="list<int32>")
    lists.annotate = lambda given: [{"seen": [1, 2]}]
    with pytest.raises(AssertionError, match="does not fit the captions"):
        annotate_samples(samples(1), [lists])


def test_a_clip_gives_its_first_and_middle_frame():
    frames = [drawing(i) for i in range(5)]
    item = clip_item("c", frames, captions("a"))
    decoded = decode_sample(Sample(key="0" * 20, extension="mp4", media=item.media, captions=item.captions))
    for image, frame in ((decoded.first_image, frames[0]), (decoded.image, frames[2])):
        assert np.abs(np.asarray(image, dtype=int) - np.asarray(frame)).mean() < 8
    assert decoded.media == "video"


def test_a_picture_is_its_own_first_frame():
    decoded = decode_sample(samples(1)[0])
    assert decoded.first_image is decoded.image and decoded.image.mode == "RGB"


def test_two_writers_of_one_column_are_refused():
    with pytest.raises(ValueError, match="both write the column 'seen'"):
        annotation_schema([Recording(1), Recording(1)], [])
    with pytest.raises(ValueError, match="and the crawl both write the column 'width'"):
        annotation_schema([Recording(1, "width")], ["key", "width"])


def test_schema_is_sorted_and_starts_with_key():
    schema = annotation_schema([Recording(1, "z"), Recording(1, "a", "list<float64>")], [])
    assert schema.names == ["key", "annotate_error", "a", "z"]
    assert schema.field("a").type == pyarrow.list_(pyarrow.float64())


@pytest.mark.parametrize("name", ["float64", "int32", "bool", "string", "binary"])
def test_types_by_name(name):
    assert arrow_type(name) == pyarrow.type_for_alias(name)
    assert arrow_type(f"list<{name}>") == pyarrow.list_(pyarrow.type_for_alias(name))


def test_specs_are_sorted_and_checked():
    specs = annotator_specs(ANNOTATORS)
    assert [spec.module for spec in specs] == ["caption_stats", "image_stats", "phash"]
    with pytest.raises(ValueError, match=r"annotators.x.module: .*did you mean phash"):
        annotator_specs({"x": {"module": "phas"}})


def test_a_shard_becomes_a_layer(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    items = [picture_item(f"p{i}", drawing(i), captions("a b", "c")) for i in range(3)]
    write_crawl("web", [*items, clip_item("c", [drawing(7), drawing(8)], captions("d"))])
    crawl = read_manifest(DATA / "crawl" / "web")
    work = AnnotateShard(folder=DATA / "crawl" / "web", specs=annotator_specs(ANNOTATORS), taken=("width",))
    result = work(crawl.shards[0].as_dict(), tmp_path / "scratch")
    table = read_layer(tmp_path / "scratch", FileInfo(**result["layer"]))
    assert result["failed"] == {}
    assert table["num_captions"].to_pylist().count(2) == 3
    by_first = dict(zip(table["phash"].to_pylist(), table["phash_first"].to_pylist(), strict=True))
    assert sum(middle != first for middle, first in by_first.items()) == 1


def test_an_annotator_builds_on_the_worker():
    spec = annotator_specs({"stats": {"module": "image_stats", "max_side_px": 64}})[0]
    assert isinstance(spec, AnnotatorSpec) and spec.build().config.max_side_px == 64


class Watching(Recording):
    """An annotator that notes the frames that it is shown."""

    def __init__(self, column: str, num_frames: int) -> None:
        super().__init__(2, column)
        self.num_frames = num_frames
        self.frames: list[list[int]] = []

    def annotate(self, samples: list[AnnotatorInput]) -> list[dict]:
        self.frames += [[round(np.asarray(frame).mean() / 4) for frame in sample.frames] for sample in samples]
        return super().annotate(samples)


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 8, 9, 10, 31, 40])
def test_each_annotator_sees_its_own_frames_of_a_clip(length):
    frames = [Image.new("RGB", (16, 16), (4 * index,) * 3) for index in range(length)]
    item = clip_item("c", frames, captions("a"))
    given = [Sample(key="0" * 20, extension="mp4", media=item.media, captions=item.captions), *samples(1)]
    three, nine = Watching("three", 3), Watching("nine", 9)
    annotate_samples(given, [three, nine])
    for annotator in (three, nine):
        assert annotator.frames == [list(evenly_spaced(length, annotator.num_frames)), []]
        alone = Watching("alone", annotator.num_frames)
        annotate_samples(given, [alone])
        assert alone.frames == annotator.frames


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 12])
def test_first_and_middle_do_not_depend_on_who_wants_frames(length):
    item = clip_item("c", [drawing(i) for i in range(length)], captions("a"))
    sample = Sample(key="0" * 20, extension="mp4", media=item.media, captions=item.captions)
    few, many = decode_sample(sample), decode_sample(sample, 9)
    assert few.frames == () and len(many.frames) == min(length, 9)
    assert few.image.tobytes() == many.image.tobytes() and few.first_image.tobytes() == many.first_image.tobytes()


def test_a_clip_moves_and_a_picture_does_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fade = [Image.new("RGB", (32, 32), (8 * index,) * 3) for index in range(12)]
    write_crawl("web", [picture_item("p", drawing(1), captions("a")), clip_item("c", fade, captions("b"))])
    crawl = read_manifest(DATA / "crawl" / "web")
    specs = annotator_specs({"motion": {"module": "clip_motion", "num_frames": 9}})
    work = AnnotateShard(folder=DATA / "crawl" / "web", specs=specs, taken=())
    result = work(crawl.shards[0].as_dict(), tmp_path / "scratch")
    rows = read_layer(tmp_path / "scratch", FileInfo(**result["layer"])).to_pylist()
    still, moving = sorted(rows, key=lambda row: row["motion"])
    assert (still["frames_per_sec"], still["motion"]) == (0.0, 0.0)
    assert moving["frames_per_sec"] == 8.0 and moving["num_cuts"] == 0
    assert moving["motion"] == pytest.approx(8 * 4, rel=0.2)  # half a second is four frames


def test_fewer_frames_are_always_among_more():
    for length in (*range(1, 300), 999, 1000, 18_000):
        for most in FRAME_COUNTS:
            places = evenly_spaced(length, most)
            for fewer in FRAME_COUNTS[: FRAME_COUNTS.index(most)]:
                picked = [places[index] for index in evenly_spaced(len(places), fewer)]
                assert picked == list(evenly_spaced(length, fewer))


def test_another_number_of_frames_is_our_mistake():
    with pytest.raises(AssertionError, match="wants 4 frames"):
        annotate_samples(samples(1), [Watching("x", 4)])


@pytest.mark.parametrize("value", [-0.1, 1.1])
def test_the_share_of_failures_is_a_share(value):
    with pytest.raises(ValueError, match=r"max_failed_frac must be in \[0, 1\]"):
        AnnotateSettings(max_failed_frac=value)


class Picky(Recording):
    """Fails on some samples, each in a way of its own."""

    def __init__(self, batch_size: int, errors: dict[int, Exception], column: str = "seen") -> None:
        super().__init__(batch_size, column)
        self.errors = {f"{i:020x}": error for i, error in errors.items()}

    def annotate(self, samples: list[AnnotatorInput]) -> list[dict]:
        super().annotate(samples)
        for sample in samples:
            if sample.key in self.errors:
                raise self.errors[sample.key]
        return [{self.column: int(sample.key, 16)} for sample in samples]


ERRORS = [ValueError("x"), IndexError(), ZeroDivisionError(), AssertionError(), RecursionError(), OSError(5, "x")]


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_what_an_annotator_raises_on_a_sample_is_its_row(batch_size, caplog):
    wrong = dict(enumerate(ERRORS, start=2))
    rows = annotate_samples(
        samples(12), [Picky(batch_size, wrong, "a"), Limited(4, "b", never=(9,)), Recording(3, "c")]
    )
    lost = {**{i: "sample_error" for i in wrong}, 9: "out_of_memory"}
    for i, row in enumerate(rows):
        if i in lost:
            assert row == {"key": f"{i:020x}", "annotate_error": lost[i]}
        else:
            assert (row["annotate_error"], row["a"], row["b"]) == ("", i, i)
    for i, error in wrong.items():
        assert any(f"{i:020x}" in line and type(error).__name__ in line for line in caplog.messages)


def test_a_row_that_a_column_cannot_hold_is_one_without_values():
    schema = annotation_schema([Recording(1, "number"), Recording(1, "text", "string")], [])
    keys = [f"{i:020x}" for i in range(4)]
    whole = [{"key": key, "annotate_error": "", "number": i, "text": "a"} for i, key in enumerate(keys)]
    bad = [whole[0], {**whole[1], "text": "half a pair \ud800"}, {**whole[2], "number": 2**40}, whole[3]]
    found = storable(bad, schema, Trouble())
    lost = [{"key": key, "annotate_error": "sample_error"} for key in keys[1:3]]
    assert found == [whole[0], *lost, whole[3]]
    assert storable(whole, schema, Trouble()) == whole


def test_what_decoding_raises_unforeseen_is_a_row(monkeypatch):
    def decode(sample, num_frames=0):
        if sample.key == f"{1:020x}":
            raise ValueError("all input arrays must have the same shape")
        return decode_sample(sample, num_frames)

    monkeypatch.setattr(annotating, "decode_sample", decode)
    rows = annotate_samples(samples(3), [Recording(2)])
    assert [row["annotate_error"] for row in rows] == ["", "sample_error", ""]


class Texts(Recording):
    """Looks at captions alone."""

    reads_pixels = False

    def annotate(self, samples: list[AnnotatorInput]) -> list[dict]:
        assert all(sample.image is NO_PIXELS and sample.first_image is NO_PIXELS for sample in samples)
        return [{self.column: len(sample.captions)} for sample in samples]


def test_nothing_is_decoded_where_nobody_reads_pixels(monkeypatch):
    whole = annotate_samples(samples(5), [Texts(2)])
    with monkeypatch.context() as patch:
        patch.setattr(annotating, "decode_sample", lambda *given: pytest.fail("decoded"))
        assert annotate_samples(samples(5), [Texts(2), Texts(3, "other")])[0] == {**whole[0], "other": 1}
        assert annotate_samples(samples(2), []) == [{"key": f"{i:020x}", "annotate_error": ""} for i in range(2)]
    beside = annotate_samples(samples(5), [Texts(2), Recording(1, "pixels")])
    assert [{**row, "pixels": 0} for row in whole] == [{**row, "pixels": 0} for row in beside]


def test_pixels_that_were_promised_not_to_be_read_cannot_be():
    class Liar(Texts):
        def annotate(self, samples):
            return [{self.column: sample.image.width} for sample in samples]

    assert annotate_samples(samples(1), [Liar(1)])[0]["annotate_error"] == "sample_error"
    with pytest.raises(AttributeError, match="reads_pixels = False has no pixels"):
        _ = NO_PIXELS.width


def test_a_model_that_is_not_there_is_no_samples_fault(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_crawl("web", [picture_item("p", drawing(1), captions("a"))])
    crawl = read_manifest(DATA / "crawl" / "web")

    class Modelled(Texts):
        def load(self) -> None:
            raise ValueError("weights: no such file")

    monkeypatch.setattr(AnnotatorSpec, "build", lambda spec: Modelled(1))
    work = AnnotateShard(folder=DATA / "crawl" / "web", specs=(AnnotatorSpec("x", None),), taken=())
    with pytest.raises(ValueError, match="weights: no such file"):
        work(crawl.shards[0].as_dict(), tmp_path / "scratch")
