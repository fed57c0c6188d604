"""What filters see: columns of a shard's samples as arrays, from its facts and its annotations.

A sample-level column has one value per sample. A caption-level column has one value per caption, the captions of all
samples one after another: the lists that annotators write, and the captions' own fields under the names of
`CAPTION_FIELDS`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.compute
import pyarrow.parquet

from pipelines.annotators import ERROR_COLUMN
from pipelines.shared.layers import read_layer
from pipelines.shared.manifests import manifest_digest, read_manifest
from pipelines.shared.params import suggestion
from pipelines.shared.shards import FileInfo
from pipelines.shared.stage import DATA

CAPTIONS = "captions"
CAPTION_FIELDS = {"caption_text": "text", "caption_origin": "origin", "caption_place": "place"}


@dataclass(frozen=True, slots=True)
class Columns:
    """Columns of N samples with C captions.

    Attributes:
        num_captions: int64 [N], captions of each sample.
        sample: Arrays [N] by name.
        caption: Arrays [C] by name.
    """

    num_captions: np.ndarray
    sample: Mapping[str, np.ndarray]
    caption: Mapping[str, np.ndarray]

    @property
    def owners(self) -> np.ndarray:
        """int64 [C], the sample of each caption."""
        return np.repeat(np.arange(len(self.num_captions)), self.num_captions)

    def of(self, scope: str) -> Mapping[str, np.ndarray]:
        """The columns of a scope, `sample` or `caption`."""
        return self.sample if scope == "sample" else self.caption


@dataclass(frozen=True, slots=True)
class ColumnNames:
    """Names of the columns that there are, by scope."""

    sample: frozenset[str]
    caption: frozenset[str]

    @classmethod
    def of(cls, facts: pyarrow.Schema, annotations: pyarrow.Schema) -> "ColumnNames":
        """The names in a facts layer and an annotation layer."""
        fields = [field for field in (*facts, *annotations) if field.name != CAPTIONS]
        lists = {field.name for field in fields if pyarrow.types.is_list(field.type)}
        return cls(
            sample=frozenset(field.name for field in fields) - lists,
            caption=frozenset(lists | set(CAPTION_FIELDS)),
        )

    def check(self, names: Iterable[str], scope: str, where: str) -> None:
        """Raise ValueError if a rule of that scope reads a column that is not there."""
        known = self.sample if scope == "sample" else self.caption
        for name in names:
            if name in known:
                continue
            if name in self.sample | self.caption:
                other = "caption" if scope == "sample" else "sample"
                raise ValueError(f"{where}: the column {name!r} has a value per {other}, the rule's scope is {scope}")
            raise ValueError(
                f"{where}: there is no column {name!r}{suggestion(name, known)}; per {scope} there are: "
                + ", ".join(sorted(known))
            )


@dataclass(frozen=True, slots=True)
class ShardLayers:
    """Where a shard's facts and annotations lie."""

    source: str
    crawl_folder: Path
    facts: FileInfo
    annotate_folder: Path
    annotations: FileInfo

    def read(self, names: Sequence[str]) -> tuple[pyarrow.Table, pyarrow.Table]:
        """Both layers, with the named columns and those that are always needed.

        Raises:
            ValueError: A file is not the one that its manifest lists.
        """
        known = set(pyarrow.parquet.read_schema(self.crawl_folder / self.facts.name).names)
        wanted = set(names) - set(CAPTION_FIELDS)
        facts = read_layer(
            self.crawl_folder, self.facts, sorted({"key", "status", "reason", CAPTIONS, *wanted & known})
        )
        columns = sorted({"key", ERROR_COLUMN, *wanted - known})
        return facts, read_layer(self.annotate_folder, self.annotations, columns)


def source_layers(source: str) -> tuple[list[ShardLayers], dict[str, str]]:
    """The layers of a source, shard by shard, and the digests of the two manifests that list them.

    Raises:
        ValueError: The source was not crawled or annotated, or was crawled again since.
    """
    crawl_folder, annotate_folder = DATA / "crawl" / source, DATA / "annotate" / source
    crawl, annotate = read_manifest(crawl_folder), read_manifest(annotate_folder)
    digests = {f"{folder.parent.name}/{source}": manifest_digest(folder) for folder in (crawl_folder, annotate_folder)}
    if annotate.inputs[f"crawl/{source}"] != digests[f"crawl/{source}"]:
        raise ValueError(f"{annotate_folder} was made from another crawl: run `vignette annotate {source}` again")
    shards = [
        ShardLayers(source, crawl_folder, facts, annotate_folder, annotations)
        for facts, annotations in zip(crawl.layers, annotate.layers, strict=True)
    ]
    return shards, digests


def judged_rows(facts: pyarrow.Table, annotations: pyarrow.Table) -> tuple[pyarrow.Table, pyarrow.Table]:
    """The rows of both layers that filters judge: what the crawl took and the annotators could decode.

    Raises:
        ValueError: The layers do not belong together.
    """
    taken = facts.filter(pyarrow.compute.equal(facts["status"], "success"))
    if not taken["key"].equals(annotations["key"]):
        raise ValueError("the annotation layer's keys are not those of the crawl's samples: annotate the source again")
    whole = pyarrow.compute.equal(annotations[ERROR_COLUMN], "")
    if pyarrow.compute.all(whole).as_py():
        return taken, annotations
    return taken.filter(whole), annotations.filter(whole)


def read_columns(facts: pyarrow.Table, annotations: pyarrow.Table, names: Iterable[str]) -> Columns:
    """The named columns of judged rows.

    Args:
        facts: Facts, with `captions`.
        annotations: Annotations of the same rows.
        names: Columns that `ColumnNames.check` has passed.
    """
    captions = facts[CAPTIONS].combine_chunks()
    num_captions = lengths(captions)
    sample: dict[str, np.ndarray] = {}
    caption: dict[str, np.ndarray] = {}
    for name in sorted(set(names)):
        if name in CAPTION_FIELDS:
            caption[name] = to_numpy(captions.flatten().field(CAPTION_FIELDS[name]))
            continue
        column = (facts if name in facts.column_names else annotations)[name].combine_chunks()
        if pyarrow.types.is_list(column.type):
            assert np.array_equal(lengths(column), num_captions), f"{name} does not fit the captions"
            caption[name] = to_numpy(column.flatten())
        else:
            sample[name] = to_numpy(column)
    return Columns(num_captions, sample, caption)


def lengths(lists: pyarrow.Array) -> np.ndarray:
    """int64 [N], lengths of N lists."""
    return to_numpy(pyarrow.compute.list_value_length(lists)).astype(np.int64)


def to_numpy(values: pyarrow.Array) -> np.ndarray:
    """An array; missing numbers are NaN, texts are objects."""
    return values.to_numpy(zero_copy_only=False)


def index_lists(chosen: np.ndarray, num_items: Sequence[int] | np.ndarray) -> pyarrow.Array:
    """For each of N lists laid one after another the positions in it that are chosen.

    Args:
        chosen: bool [sum of num_items].
        num_items: Lengths of the N lists.

    Returns:
        `list<int32>` [N].
    """
    counts = np.asarray(num_items, dtype=np.int64)
    owners = np.repeat(np.arange(len(counts)), counts)
    positions = np.arange(len(chosen)) - np.repeat(np.cumsum(counts) - counts, counts)
    sizes = np.bincount(owners[chosen], minlength=len(counts))
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
    return pyarrow.ListArray.from_arrays(offsets, pyarrow.array(positions[chosen].astype(np.int32)))
