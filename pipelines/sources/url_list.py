"""Links from a list: Parquet, CSV, TSV, JSON lines or plain lines, read as a stream.

Each row has a URL and, in one or more columns, its captions. A `.txt` file is one URL per line and has no captions.
"""

import csv
import gzip
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import pyarrow
import pyarrow.parquet

from pipelines.shared.fetch import Fetcher
from pipelines.shared.inputs import local_file
from pipelines.shared.records import ORIGINS, Caption, Link
from pipelines.shared.texts import clean_text

FORMATS = (".parquet", ".csv", ".tsv", ".jsonl", ".txt")
BATCH_ROWS = 4096
UNREADABLE = (
    OSError,
    EOFError,
    UnicodeDecodeError,
    csv.Error,
    json.JSONDecodeError,
    RecursionError,
    pyarrow.ArrowException,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Settings.

    Attributes:
        path: The list, by path or URL (`s3://...`); its ending tells the format: .parquet, .csv, .tsv, .jsonl or .txt.
            All but Parquet may be compressed (.gz).
        url_column: Column of the URL.
        caption_columns: Columns of captions, best first; an empty cell gives none.
        origin: `web`, or `human` if people wrote the captions for the pictures.
    """

    path: str
    url_column: str = "url"
    caption_columns: tuple[str, ...] = ("caption",)
    origin: str = "web"

    def __post_init__(self) -> None:
        if list_format(Path(self.path)) not in FORMATS:
            raise ValueError(f"path must end in one of {', '.join(FORMATS)}, got {self.path!r}")
        if self.origin not in ORIGINS:
            raise ValueError(f"origin must be one of {', '.join(ORIGINS)}, got {self.origin!r}")


class Source:
    """See `pipelines.sources.Source`."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.path = local_file(config.path)

    def files(self) -> tuple[str, ...]:
        """The list."""
        return (self.config.path,)

    def serves(self) -> str:
        """Nothing: the links lead to the web, or to what the entry's `serve` names."""
        return ""

    async def links(self, fetcher: Fetcher) -> AsyncIterator[Link]:
        """One link per row that has a URL, in the order of the list.

        Raises:
            ValueError: The list cannot be read or lacks a column.
        """
        for row in self._rows():
            url = str(row.get(self.config.url_column) or "").strip()
            if url:
                yield Link(url=url, captions=self._captions(row), page_url=self.path.name)

    def _captions(self, row: Mapping[str, Any]) -> tuple[Caption, ...]:
        places: dict[str, str] = {}
        for column in self.config.caption_columns:
            if text := clean_text(str(row.get(column) or "")):
                places.setdefault(text, column)
        origin = self.config.origin
        return tuple(Caption(text=text, origin=origin, place=f"column:{column}") for text, column in places.items())

    def _rows(self) -> Iterator[Mapping[str, Any]]:
        kind = list_format(self.path)
        try:
            if kind == ".parquet":
                yield from self._parquet_rows()
                return
            with _open_text(self.path) as handle:
                if kind == ".jsonl":
                    yield from (self._checked(json.loads(line)) for line in handle if line.strip())
                elif kind == ".txt":
                    yield from ({self.config.url_column: line} for line in handle)
                else:
                    reader = csv.DictReader(handle, delimiter="\t" if kind == ".tsv" else ",", strict=True)
                    self._check_columns(reader.fieldnames or ())
                    yield from reader
        except FileNotFoundError as error:
            raise ValueError(f"{self.config.path} does not exist") from error
        except UNREADABLE as error:
            raise ValueError(f"{self.config.path} cannot be read as {kind}: {type(error).__name__}: {error}") from error

    def _parquet_rows(self) -> Iterator[Mapping[str, Any]]:
        with pyarrow.parquet.ParquetFile(self.path) as file:
            self._check_columns(file.schema_arrow.names)
            columns = [self.config.url_column, *self.config.caption_columns]
            for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=columns):
                yield from batch.to_pylist()

    def _checked(self, row: Any) -> Mapping[str, Any]:
        if not isinstance(row, Mapping) or self.config.url_column not in row:
            raise ValueError(
                f"{self.config.path}: each line must be an object with {self.config.url_column!r}, got {row!r:.80}"
            )
        return row

    def _check_columns(self, names: Any) -> None:
        wanted = [self.config.url_column, *self.config.caption_columns]
        if missing := [name for name in wanted if name not in names]:
            raise ValueError(f"{self.config.path} has no column {', '.join(missing)}; there are: {', '.join(names)}")


def list_format(path: Path) -> str:
    """Ending of a list's name without .gz: `.csv` for `links.csv.gz`."""
    return path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix


def _open_text(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")
