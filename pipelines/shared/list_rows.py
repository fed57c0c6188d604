"""Rows of a list in any of its formats, as a stream: numbered, with the columns that are asked for, or with a problem.

Text is UTF-8, or UTF-16 or UTF-32 with a byte order mark. A carriage return alone ends a line only where it ends the
first one; elsewhere it belongs to its cell. Bytes that are not UTF-8 cost the rows that they stand in,
and in CSV and TSV not even those where their column is not asked for.
"""

import codecs
import csv
import gzip
import json
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import pyarrow
import pyarrow.parquet

from pipelines.shared.delimited import MAX_ROW_CHARS, DelimitedRows, Lines

FORMATS = (".parquet", ".csv", ".tsv", ".jsonl", ".txt")
DELIMITERS = {".csv": ",", ".tsv": "\t"}
BATCH_ROWS = 4096
ESCAPED = re.compile("[\udc80-\udcff]")
UNREADABLE = (OSError, EOFError, UnicodeDecodeError, csv.Error, zlib.error, pyarrow.ArrowException)
MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True, slots=True)
class ListRow:
    """A row of a list.

    Attributes:
        place: `line 7`, or `row 7` of a Parquet file, from 1; of a row over several lines its first.
        values: What the columns hold; None for a row that does not fit.
        problem: Why it does not fit.
    """

    place: str
    values: Mapping[str, Any] | None
    problem: str = ""


def list_format(path: Path) -> str:
    """Ending of a list's name without .gz, in lower case: `.csv` for `links.CSV.gz`."""
    return (path.with_suffix("").suffix if path.suffix.lower() == ".gz" else path.suffix).lower()


def read_rows(path: Path, name: str, url: str, captions: Sequence[str], names: Sequence[str] = ()) -> Iterator[ListRow]:
    """All rows of a list.

    Args:
        path: The file.
        name: What it is called in messages.
        url: Column of the address, which every row must have.
        captions: Further columns; a JSON object may lack them.
        names: All columns in order, of a CSV or TSV without a header.

    Raises:
        ValueError: It cannot be read, or lacks a column.
    """
    kind = list_format(path)
    wanted = [url, *captions]
    try:
        if kind == ".parquet":
            yield from _parquet_rows(path, name, wanted)
            return
        with _open_text(path) as handle:
            if kind == ".jsonl":
                yield from _json_rows(handle, url)
            elif kind == ".txt":
                yield from (_checked(f"line {number}", {url: line}, kind) for number, line in Lines(handle))
            else:
                yield from _delimited_rows(handle, name, wanted, kind, names)
    except FileNotFoundError as error:
        raise ValueError(f"{name} does not exist") from error
    except UNREADABLE as error:
        raise ValueError(f"{name} cannot be read as {kind}: {type(error).__name__}: {error}") from error


def _delimited_rows(
    handle: TextIO, name: str, wanted: Sequence[str], kind: str, names: Sequence[str]
) -> Iterator[ListRow]:
    reader = DelimitedRows(handle, DELIMITERS[kind], names)
    _check_columns(name, wanted, reader.names, hint="" if names else _header_hint(reader.names, kind))
    places = {column: reader.names.index(column) for column in wanted}
    for row in reader.rows(places[wanted[0]]):
        if row.cells is None:
            yield ListRow(f"line {row.number}", None, f"cannot be read as {kind}: {row.problem}")
        else:
            values = {column: row.cells[place] for column, place in places.items()}
            yield _checked(f"line {row.number}", values, kind)


def _header_hint(names: Sequence[str], kind: str) -> str:
    """What may be wrong with a header that lacks a column."""
    others = [sign for sign in ";,\t|" if sign != DELIMITERS[kind] and len(names) == 1 and sign in names[0]]
    if others:
        return f"; cells of {kind} are parted by {DELIMITERS[kind]!r}, these seem to be by {others[0]!r}"
    return "; columns names those of a list without a header"


def _checked(place: str, values: Mapping[str, str | None], kind: str) -> ListRow:
    """A row of text; one with bytes that are not UTF-8, or with a line that is too long, does not fit."""
    for value in values.values():
        if value is None:
            return ListRow(place, None, f"cannot be read as {kind}: the line is too long")
        if ESCAPED.search(value):
            try:
                value.encode(errors="surrogateescape").decode()
            except UnicodeError as error:
                return ListRow(place, None, f"cannot be read as {kind}: {type(error).__name__}: {error}")
    return ListRow(place, values)


def _json_rows(handle: TextIO, url: str) -> Iterator[ListRow]:
    for number, line in Lines(handle):
        place = f"line {number}"
        if line is not None and not line.strip():
            continue
        row = _checked(place, {url: line}, ".jsonl")
        if line is not None and row.values is not None:
            try:
                values = json.loads(line)
            except (ValueError, RecursionError) as error:
                message = error.msg if isinstance(error, json.JSONDecodeError) else error
                row = ListRow(place, None, f"cannot be read as .jsonl: {type(error).__name__}: {message}")
            else:
                is_row = isinstance(values, dict) and url in values
                problem = "" if is_row else f"each line must be an object with {url!r}, got {values!r:.80}"
                row = ListRow(place, values if is_row else None, problem)
        yield row


def _parquet_rows(path: Path, name: str, wanted: Sequence[str]) -> Iterator[ListRow]:
    with pyarrow.parquet.ParquetFile(path) as file:
        _check_columns(name, wanted, file.schema_arrow.names)
        for column in wanted:
            kind = file.schema_arrow.field(column).type
            if not _is_text_like(kind):
                allowed = "text, bytes, numbers, or lists of them"
                raise ValueError(f"{name}: column {column!r} is of type {kind}, allowed are {allowed}")
        number = 0
        for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=list(wanted)):
            columns = [_values(batch.column(column)) for column in wanted]
            for values in zip(*columns, strict=True):
                number += 1
                yield ListRow(f"row {number}", dict(zip(wanted, values, strict=True)))


def _is_text_like(kind: pyarrow.DataType, *, in_list: bool = False) -> bool:
    """Whether values of a type are texts, or what `cells` reads as texts."""
    types = pyarrow.types
    if types.is_dictionary(kind):
        return _is_text_like(kind.value_type, in_list=in_list)
    lists = (types.is_list, types.is_large_list, types.is_fixed_size_list, types.is_list_view, types.is_large_list_view)
    if not in_list and any(is_list(kind) for is_list in lists):
        return _is_text_like(kind.value_type, in_list=True)
    texts = (types.is_string, types.is_large_string, types.is_string_view)
    bytes_ = (types.is_binary, types.is_large_binary, types.is_fixed_size_binary, types.is_binary_view)
    numbers = (types.is_integer, types.is_floating, types.is_decimal, types.is_null)
    return any(is_it(kind) for is_it in (*texts, *bytes_, *numbers))


def _values(column: pyarrow.Array) -> list[Any]:
    """Python values of a column; of texts that are not UTF-8 the bytes."""
    try:
        return column.to_pylist()
    except UnicodeDecodeError:
        return [_value(cell) for cell in column]


def _value(cell: pyarrow.Scalar) -> Any:
    try:
        return cell.as_py()
    except UnicodeDecodeError:
        if isinstance(cell, pyarrow.ListScalar):
            return [_value(each) for each in cell.values]
        if isinstance(cell, pyarrow.DictionaryScalar):
            return _value(cell.value)
        return cell.as_buffer().to_pybytes()


def _check_columns(name: str, wanted: Sequence[str], names: Sequence[str], hint: str = "") -> None:
    if missing := [column for column in wanted if column not in names]:
        raise ValueError(f"{name} has no column {', '.join(missing)}; there are: {', '.join(names):.500}{hint}")
    if twice := [column for column in wanted if list(names).count(column) > 1]:
        raise ValueError(f"{name} has several columns named {', '.join(twice)}")


def _open_text(path: Path) -> TextIO:
    opened: Any = gzip.open if path.suffix.lower() == ".gz" else open
    with opened(path, "rb") as handle:
        head = handle.read(4)
    encoding = next((name for mark, name in MARKS if head.startswith(mark)), "")
    settings = {"encoding": encoding or "utf-8-sig", "errors": "surrogatepass" if encoding else "surrogateescape"}
    with opened(path, "rt", **settings, newline="") as handle:
        has_old_ends = handle.readline(MAX_ROW_CHARS).endswith("\r")
    return opened(path, "rt", **settings, newline="" if has_old_ends else "\n")
