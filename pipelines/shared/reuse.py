"""What a shard of a crawl takes over from an earlier crawl: rows and bytes of links whose answers are still known.

The stage writes down, beside a shard's links, which rows still hold and in which files they are; the shard's task reads
the rows and bytes from there. Files that are not what they were are left alone: their links are fetched.
"""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.shared.files import write_json
from pipelines.shared.layers import read_layer
from pipelines.shared.shards import FileInfo, describe, read_shard

logger = logging.getLogger("vignette.crawl")


def write_reuse(
    scratch: Path,
    plan: str,
    name: str,
    answers: Mapping[str, Mapping[str, Any]],
    files: Sequence[tuple[FileInfo, FileInfo]],
) -> None:
    """Write down what one shard takes over.

    Args:
        scratch: The scratch folder.
        plan: Name of the plan's folder in it.
        name: The shard's name.
        answers: The answers' columns as they are known now, by key.
        files: Shards and facts layers of the earlier crawl that have the rows, named relative to the scratch folder.
    """
    values = [[shard.as_dict(), layer.as_dict()] for shard, layer in files]
    write_json(_path(scratch / plan, name), {"answers": answers, "files": values})


def reused_rows(scratch: Path, plan: str, name: str) -> Iterator[tuple[dict[str, Any], bytes | None]]:
    """Rows of the facts layer that one shard takes over, with the bytes of those that are samples."""
    path = _path(scratch / plan, name)
    if not path.exists():
        return
    values = json.loads(path.read_bytes())
    for shard, layer in values["files"]:
        try:
            yield from _rows(scratch, FileInfo(**shard), FileInfo(**layer), values["answers"])
        except ValueError as error:
            logger.warning("nothing is taken over from an earlier crawl's shard: %s", error)


def reuse_files(scratch: Path, plan: str, name: str) -> tuple[FileInfo, ...]:
    """The files that `reused_rows` reads for one shard, relative to where the scratch folder's path starts."""
    path = _path(scratch / plan, name)
    if not path.exists():
        return ()
    files = [FileInfo(**info) for pair in json.loads(path.read_bytes())["files"] for info in pair]
    return (describe(path, Path(), 0), *(info.inside(scratch) for info in files))


def _rows(
    scratch: Path, shard: FileInfo, layer: FileInfo, answers: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[dict[str, Any], bytes | None]]:
    rows = {row["key"]: {**row, **answers[row["key"]]} for row in _wanted(scratch, layer, answers)}
    yield from ((row, None) for row in rows.values() if row["status"] != "success")
    for sample in read_shard(scratch, shard):
        if sample.key in rows:
            yield rows[sample.key], sample.media


def _wanted(scratch: Path, layer: FileInfo, answers: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [row for row in read_layer(scratch, layer).to_pylist() if row["key"] in answers]


def _path(folder: Path, name: str) -> Path:
    return folder / f"{name}.reuse.json"
