"""What a run was trained on, and which held-out samples are among it or look like it.

A table of samples has their keys, the digests of their original files, and, where the annotator `phash` ran, what they
look like. A held-out sample is *exposed* if its key or its file is in the training split of the run, or of one that the
run builds on, or if it is linked to one there as near duplicates are (`duplicates`): what the split never separates.
Equal captions, by which the split also joins samples, do not count: a picture is not seen through its caption.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.compute
import pyarrow.parquet

from pipelines.shared.columns import to_numpy
from pipelines.shared.decisions import looks_of
from pipelines.shared.duplicates import NearDuplicates, near_duplicates
from pipelines.shared.filtering import LOOKS
from pipelines.shared.layers import layer_schema, read_layer
from pipelines.shared.manifests import manifest_digest, read_manifest
from pipelines.shared.runs import read_run
from pipelines.shared.shards import read_shard
from pipelines.shared.stage import DATA, RUNS

TEXTS, SIZES = ("sha256", "media"), ("width", "height")
SCHEMA = layer_schema(
    {
        **dict.fromkeys(TEXTS, pyarrow.string()),
        **dict.fromkeys(SIZES, pyarrow.int64()),
        "phash": pyarrow.string(),
        "phash_first": pyarrow.string(),
        "phash_contrast": pyarrow.float64(),
        "colour_grid": pyarrow.binary(),
    }
)


def trained_on(key: str, folder: Path = RUNS) -> pyarrow.Table:
    """The training samples of a run and of the runs that it builds on, rows as `SCHEMA` says.

    Args:
        key: Key of the run.
        folder: Where runs are.

    Raises:
        ValueError: A pack is not the one any more that a run was trained on.
    """
    tables = [SCHEMA.empty_table()]
    for run in chain(key, folder):
        document = read_run(run, folder)
        if not document["step"]:
            continue
        pack = document["pack"]
        path = DATA / "pack" / pack["key"]
        if manifest_digest(path) != pack["manifest_sha256"]:
            raise ValueError(f"{path} is not what {run} was trained on any more: run `vignette repro`")
        tables.append(samples_of(path, "train"))
    table = pyarrow.concat_tables(tables)
    _, first = np.unique(to_numpy(table["key"].combine_chunks()).astype(str), return_index=True)
    return table.take(first).combine_chunks()


def chain(key: str, folder: Path = RUNS) -> list[str]:
    """A run and the runs that it builds on, by key."""
    keys = []
    while key:
        keys.append(key)
        key = read_run(key, folder)["base"].get("key", "")
    return keys


def samples_of(pack: Path, split: str) -> pyarrow.Table:
    """The samples of a split of a pack, in key order, rows as `SCHEMA` says.

    What they look like is null where their source has no annotation layer with the columns of `phash`.
    """
    rows = sorted(_rows(pack, split))
    columns = zip(SCHEMA.names[:5], zip(*(row[:5] for row in rows), strict=True), strict=True)
    table = pyarrow.table({name: list(values) for name, values in columns})
    sources = sorted({source for *_, source in rows if source})
    annotated = [looks for source in sources if (looks := _looks(source)) is not None]
    if annotated:
        table = table.join(pyarrow.concat_tables(annotated), "key").sort_by("key")
    else:
        for name in LOOKS:
            table = table.append_column(name, pyarrow.nulls(table.num_rows))
    return table.select(SCHEMA.names).cast(SCHEMA)


def exposed(held_out: pyarrow.Table, trained: Sequence[pyarrow.Table]) -> frozenset[str]:
    """Keys of held-out samples that are among training samples or look like one.

    Args:
        held_out: From `samples_of`.
        trained: From `trained_on`, of each model that is scored.
    """
    training = pyarrow.concat_tables(trained)
    keys = to_numpy(held_out["key"].combine_chunks()).astype(str)
    found = _is_in(held_out["key"], training["key"])
    found |= _is_in(held_out["sha256"], training["sha256"].filter(pyarrow.compute.not_equal(training["sha256"], "")))
    both = pyarrow.concat_tables([held_out, training]).combine_chunks()
    seen = np.flatnonzero(to_numpy(both["phash"].is_valid().combine_chunks()))
    if len(seen):
        _, linked = near_duplicates(looks_of(both.take(seen)), NearDuplicates())
        inside = seen < len(keys)
        found[seen[inside]] |= np.isin(linked[inside], linked[~inside])
    return frozenset(keys[found].tolist())


def _is_in(column: pyarrow.ChunkedArray, among: pyarrow.ChunkedArray) -> np.ndarray:
    return to_numpy(pyarrow.compute.is_in(column, value_set=among.combine_chunks()).combine_chunks()).copy()


def _rows(pack: Path, split: str) -> Iterator[tuple[str, str, str, int, int, str]]:
    """Key, digest, medium, sides and source of each sample."""
    for info in read_manifest(pack).files(f"{split}/"):
        for sample in read_shard(pack, info):
            facts = sample.facts
            sides = (int(facts.get(f"original_{name}", facts.get(name, 1))) for name in SIZES)
            media = "video" if sample.is_video else "image"
            yield sample.key, facts.get("sha256", ""), media, *sides, facts.get("source", "")


def _looks(source: str) -> pyarrow.Table | None:
    """What all annotated samples of a source look like; None if there are no such columns."""
    folder = DATA / "annotate" / source
    if not folder.exists():
        return None
    layers = read_manifest(folder).layers
    if not layers or not set(LOOKS) <= set(pyarrow.parquet.read_schema(folder / layers[0].name).names):
        return None
    table = pyarrow.concat_tables([read_layer(folder, info, ("key", *LOOKS)) for info in layers])
    return table.filter(pyarrow.compute.field("phash").is_valid())
