"""Layers: Parquet files beside shards, one per shard, rows in shard order, first column `key`."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from pipelines.shared.files import atomic_path
from pipelines.shared.shards import FileInfo

KEY_FIELD = pyarrow.field("key", pyarrow.string(), nullable=False)
CAPTION_TYPE = pyarrow.struct(
    [
        ("text", pyarrow.string()),
        ("origin", pyarrow.string()),
        ("place", pyarrow.string()),
        ("model_sha256", pyarrow.string()),
        ("scores", pyarrow.map_(pyarrow.string(), pyarrow.float64())),
    ]
)


def layer_schema(fields: Mapping[str, pyarrow.DataType]) -> pyarrow.Schema:
    """The schema of a layer: `key`, then the given columns in their order."""
    return pyarrow.schema([KEY_FIELD, *(pyarrow.field(name, kind) for name, kind in fields.items())])


def write_layer(path: Path, rows: Sequence[Mapping[str, Any]], schema: pyarrow.Schema) -> int:
    """Write rows as a layer, atomically.

    Args:
        path: Where the Parquet file goes.
        rows: One mapping per row; a column that a row lacks is null, a column outside the schema is refused.
        schema: From `layer_schema`.

    Returns:
        How many rows were written.

    Raises:
        ValueError: A row has a column that the schema lacks, or keys do not increase.
    """
    known = set(schema.names)
    for row in rows:
        if unknown := set(row) - known:
            raise ValueError(f"{path.name}: columns {sorted(unknown)} are not in the layer's schema {schema.names}")
    keys = [row["key"] for row in rows]
    if any(first >= second for first, second in itertools.pairwise(keys)):
        raise ValueError(f"{path.name}: keys of a layer must increase")
    return write_table(path, pyarrow.Table.from_pylist([dict(row) for row in rows], schema=schema))


def write_table(path: Path, table: pyarrow.Table) -> int:
    """Write a table as a layer, atomically; equal tables give equal bytes."""
    with atomic_path(path) as temporary:
        pyarrow.parquet.write_table(
            table, temporary, compression="zstd", row_group_size=1 << 17, use_dictionary=True, write_statistics=True
        )
    return table.num_rows


def read_layer(folder: Path, info: FileInfo, columns: Sequence[str] | None = None) -> pyarrow.Table:
    """A layer as a table, after its sha256 and row count have been checked.

    Raises:
        ValueError: The file is not the listed one.
    """
    path = info.check(folder)
    table = pyarrow.parquet.read_table(path, columns=None if columns is None else list(columns))
    if table.num_rows != info.num_samples:
        raise ValueError(f"{path} has {table.num_rows} rows, its manifest lists {info.num_samples}")
    return table
