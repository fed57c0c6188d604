"""Annotations of one shard: each sample decoded once for all annotators, in batches whose members the shard fixes.

Beam's element is a shard, so pixels never leave the task that decoded them, and an annotator with a model keeps it for
the life of the worker process. Where no annotator reads pixels nothing is decoded. A batch that memory does not suffice
for, or on which an annotator raises, is halved. A sample that the crawl took but that does not decode here, that does
not fit alone, or on which an annotator fails whatever the reason, is a row with the reason in `annotate_error` and no
other value; the filter rejects it with that reason.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow
from PIL import Image

from pipelines.annotators import ERROR_COLUMN, FRAME_COUNTS, NO_PIXELS, Annotator, AnnotatorInput
from pipelines.shared.decode import clip_frames, evenly_spaced, open_image
from pipelines.shared.isolating import SAMPLE_ERROR, Trouble, isolated
from pipelines.shared.layers import layer_schema, write_layer
from pipelines.shared.media import MediaError
from pipelines.shared.memory import REASON, in_batches_that_fit
from pipelines.shared.params import plugin, plugin_config, plugin_files
from pipelines.shared.records import Sample
from pipelines.shared.shards import FileInfo, describe, read_shard

PACKAGE = "pipelines.annotators"
LIST_TYPE = re.compile(r"list<(\w+)>")


@dataclass(frozen=True, kw_only=True, slots=True)
class AnnotateSettings:
    """The section `annotate` of `params.yaml`; it changes no layer.

    Attributes:
        max_failed_frac: Largest share of a source's samples that something may go wrong with.
    """

    max_failed_frac: float = 0.01

    def __post_init__(self) -> None:
        if not 0 <= self.max_failed_frac <= 1:
            raise ValueError(f"max_failed_frac must be in [0, 1], got {self.max_failed_frac}")


@dataclass(frozen=True, slots=True)
class AnnotatorSpec:
    """An annotator that can be sent to a worker: the name of its module, and its settings."""

    module: str
    config: Any

    def build(self) -> Annotator:
        """The annotator."""
        annotator: Annotator = plugin(PACKAGE, self.module, "annotators").Annotator(self.config)
        return annotator


def annotator_specs(entries: Mapping[str, Mapping[str, Any]]) -> tuple[AnnotatorSpec, ...]:
    """The annotators of the section `annotators`, by their keys' order.

    Raises:
        ValueError: A plug-in or a setting is unknown.
    """
    specs = []
    for key in sorted(entries):
        _, config = plugin_config(PACKAGE, entries[key], f"annotators.{key}")
        specs.append(AnnotatorSpec(entries[key]["module"], config))
    return tuple(specs)


def annotation_schema(annotators: Sequence[Annotator], taken: Iterable[str]) -> pyarrow.Schema:
    """The layer's schema: `key`, `annotate_error`, then the columns of all annotators by name.

    Args:
        annotators: The annotators.
        taken: Names of the crawl's columns.

    Raises:
        ValueError: Two of them write one column.
    """
    owners = dict.fromkeys([*taken, ERROR_COLUMN], "the crawl")
    types = {}
    for annotator in annotators:
        name = type(annotator).__module__.rpartition(".")[2]
        for column, kind in annotator.columns.items():
            if column in owners:
                raise ValueError(f"annotators: {name} and {owners[column]} both write the column {column!r}")
            owners[column], types[column] = name, arrow_type(kind)
    return layer_schema({ERROR_COLUMN: pyarrow.string(), **dict(sorted(types.items()))})


def arrow_type(name: str) -> pyarrow.DataType:
    """The Arrow type of a name such as `float64` or `list<int32>`."""
    if match := LIST_TYPE.fullmatch(name):
        return pyarrow.list_(pyarrow.type_for_alias(match[1]))
    return pyarrow.type_for_alias(name)


@dataclass(frozen=True, kw_only=True, slots=True)
class AnnotateShard:
    """The work on one shard of a crawl; picklable.

    Attributes:
        folder: The crawl's folder.
        specs: The annotators.
        taken: Names of the crawl's columns.
    """

    folder: Path
    specs: tuple[AnnotatorSpec, ...]
    taken: tuple[str, ...]

    def __call__(self, value: Mapping[str, Any], scratch: Path) -> dict[str, Any]:
        """Write the annotation layer of one shard.

        Args:
            value: The shard's `FileInfo` as a mapping.
            scratch: Where the layer goes, under the shard's name.

        Returns:
            The layer's `FileInfo`, and counts of failed samples by reason.
        """
        info = FileInfo(**value)
        self.load()  # a model that is not there is no sample's fault
        annotators, trouble = [spec.build() for spec in self.specs], Trouble()
        schema = annotation_schema(annotators, self.taken)
        rows = storable(annotate_samples(read_shard(self.folder, info), annotators, trouble), schema, trouble)
        path = scratch / Path(info.name).with_suffix(".parquet")
        count = write_layer(path, rows, schema)
        failed: dict[str, int] = {}
        for row in rows:
            if row[ERROR_COLUMN]:
                failed[row[ERROR_COLUMN]] = failed.get(row[ERROR_COLUMN], 0) + 1
        return {"layer": describe(path, scratch, count).as_dict(), "failed": failed}

    def reads(self, value: Mapping[str, Any], scratch: Path) -> tuple[FileInfo, ...]:
        """The shard."""
        return (FileInfo(**value).inside(self.folder),)

    def files(self) -> tuple[Path, ...]:
        """Files that the annotators read, whatever the shard."""
        return plugin_files(spec.build() for spec in self.specs)

    @property
    def has_models(self) -> bool:
        """Whether an annotator runs a model."""
        return any(hasattr(spec.build(), "load") for spec in self.specs)

    def load(self) -> None:
        """Load the annotators' models, which the process keeps."""
        for spec in self.specs:
            if load := getattr(spec.build(), "load", None):
                load()


def annotate_samples(
    samples: Iterable[Sample], annotators: Sequence[Annotator], trouble: Trouble | None = None
) -> list[dict[str, Any]]:
    """A row per sample, in order; at most the largest batch of decoded pictures is held.

    Args:
        samples: The samples.
        annotators: The annotators.
        trouble: Gets what nobody foresaw.
    """
    trouble = trouble or Trouble()
    lanes = [_Lane(annotator, trouble) for annotator in annotators]
    rows = []
    for sample in samples:
        row: dict[str, Any] = {"key": sample.key, ERROR_COLUMN: ""}
        rows.append(row)
        try:
            decoded = _decode_beside(lanes, sample)
        except MediaError as error:
            row[ERROR_COLUMN] = error.reason
            continue
        except Exception as error:
            trouble.note(sample.key, "decoding", error)
            row[ERROR_COLUMN] = SAMPLE_ERROR
            continue
        if decoded is None:
            row[ERROR_COLUMN] = REASON
            continue
        for lane in lanes:
            lane.add(decoded, row)
    for lane in lanes:
        lane.flush()
    return [_failed(row["key"], row[ERROR_COLUMN]) if row[ERROR_COLUMN] else row for row in rows]


def storable(rows: Sequence[dict[str, Any]], schema: pyarrow.Schema, trouble: Trouble) -> list[dict[str, Any]]:
    """The rows, in place of one that its columns' types cannot hold, such as half a surrogate pair, a failed one."""

    def stored(part: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        pyarrow.Table.from_pylist(list(part), schema=schema)
        return list(part)

    def failed(row: dict[str, Any], error: Exception) -> dict[str, Any]:
        trouble.note(row["key"], "storing its values", error)
        return _failed(row["key"], SAMPLE_ERROR)

    return isolated(rows, stored, failed)


def _failed(key: str, reason: str) -> dict[str, Any]:
    return {"key": key, ERROR_COLUMN: reason}


def _decode_beside(lanes: "Sequence[_Lane]", sample: Sample) -> AnnotatorInput | None:
    """The decoded sample; what waits is annotated first where memory does not suffice, None where it still does not.

    Raises:
        MediaError: It does not decode.
    """
    if not any(lane.reads_pixels for lane in lanes):
        return undecoded(sample)
    num_frames = max(lane.num_frames for lane in lanes)

    def decode(samples: Sequence[Sample]) -> list[AnnotatorInput | None]:
        return [decode_sample(each, num_frames) for each in samples]

    (decoded,) = in_batches_that_fit([sample], decode, lambda _: None)
    if decoded is None and any(lane.waiting for lane in lanes):
        for lane in lanes:
            lane.flush()
        (decoded,) = in_batches_that_fit([sample], decode, lambda _: None)
    return decoded


def undecoded(sample: Sample) -> AnnotatorInput:
    """What is known of the sample without a look at its pixels."""
    return AnnotatorInput(
        key=sample.key,
        media="video" if sample.is_video else "image",
        image=NO_PIXELS,
        first_image=NO_PIXELS,
        captions=sample.captions,
        facts=sample.facts,
    )


def decode_sample(sample: Sample, num_frames: int = 0) -> AnnotatorInput:
    """The sample's picture, or its clip's first and middle frames, in RGB.

    Args:
        sample: The sample.
        num_frames: One of `FRAME_COUNTS`, or 0: frames of a clip that are kept beside these two.

    Raises:
        MediaError: It does not decode.
    """
    frames: tuple[Image.Image, ...] = ()
    if sample.is_video:
        pixels, _ = clip_frames(sample.media, num_frames or FRAME_COUNTS[0])
        frames = tuple(Image.fromarray(frame) for frame in pixels)
        few = pick_frames(frames, FRAME_COUNTS[0])
        first, middle = few[0], few[len(few) // 2]
    else:
        first = middle = open_image(sample.media)
    return replace(undecoded(sample), image=middle, first_image=first, frames=frames if num_frames else ())


def pick_frames(frames: Sequence[Image.Image], most: int) -> tuple[Image.Image, ...]:
    """At most so many of the frames, evenly spaced; of the frames picked for a higher count the same as of all."""
    return tuple(frames[index] for index in evenly_spaced(len(frames), most))


class _Lane:
    """What waits for one annotator until its batch is full."""

    def __init__(self, annotator: Annotator, trouble: Trouble) -> None:
        self.annotator = annotator
        self.trouble = trouble
        self.name = type(annotator).__module__
        self.reads_pixels: bool = getattr(annotator, "reads_pixels", True)
        self.num_frames: int = getattr(annotator, "num_frames", 0)
        assert self.num_frames in (0, *FRAME_COUNTS), f"{self.name} wants {self.num_frames} frames"
        self.waiting: list[tuple[AnnotatorInput, dict[str, Any]]] = []

    def add(self, decoded: AnnotatorInput, row: dict[str, Any]) -> None:
        frames = pick_frames(decoded.frames, self.num_frames) if self.num_frames else ()
        seen = {} if self.reads_pixels else {"image": NO_PIXELS, "first_image": NO_PIXELS}
        self.waiting.append((replace(decoded, frames=frames, **seen), row))
        if len(self.waiting) == self.annotator.batch_size:
            self.flush()

    def flush(self) -> None:
        """Annotate what waits and put the values into the rows."""
        batch = [decoded for decoded, _ in self.waiting]
        results = in_batches_that_fit(batch, self._annotated, lambda _: {ERROR_COLUMN: REASON})
        for (decoded, row), values in zip(self.waiting, results, strict=True):
            if ERROR_COLUMN not in values:
                self._check(decoded, values)
            row.update(values)
        self.waiting.clear()

    def _annotated(self, batch: Sequence[AnnotatorInput]) -> list[dict[str, Any]]:
        """Values of each sample, or why there are none."""
        return isolated(batch, self.annotator.annotate, self._spoiled)

    def _spoiled(self, decoded: AnnotatorInput, error: Exception) -> dict[str, Any]:
        self.trouble.note(decoded.key, self.name, error)
        return {ERROR_COLUMN: SAMPLE_ERROR}

    def _check(self, decoded: AnnotatorInput, values: Mapping[str, Any]) -> None:
        assert set(values) == set(self.annotator.columns), f"{self.name} returned the columns {sorted(values)}"
        for column, kind in self.annotator.columns.items():
            if LIST_TYPE.fullmatch(kind):
                assert len(values[column]) == len(decoded.captions), f"{self.name}: {column} does not fit the captions"
