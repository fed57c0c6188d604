"""Links from a list: Parquet, CSV, TSV, JSON lines or plain lines, read as a stream.

Each row has a URL and, in one or more columns, its captions. A `.txt` file is one URL per line and has no captions.

A row that does not fit is none, and never another's caption or URL: one with too many or too few cells, with quotes
that do not close, a line that is no JSON object, bytes that are not UTF-8, a cell that holds an object. Such rows are
counted as `row_misfit` and the first ones named with their lines; a list most of which does not fit is refused. Rows
without a URL are counted as `no_url`. What a cell says is for `pipelines.shared.cells`: of a list of texts each one is
a caption.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.shared.cells import CellError, cell_texts, cell_url
from pipelines.shared.fetch import Fetcher
from pipelines.shared.inputs import local_file
from pipelines.shared.list_rows import DELIMITERS, FORMATS, list_format, read_rows
from pipelines.shared.losses import Losses
from pipelines.shared.records import ORIGINS, Caption, Link
from pipelines.shared.texts import clean_text, utf8_text

MISFIT = "row_misfit"


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Settings.

    Attributes:
        path: The list, by path or URL (`s3://...`); its ending tells the format: .parquet, .csv, .tsv, .jsonl or .txt.
            All but Parquet may be compressed (.gz).
        url_column: Column of the URL.
        caption_columns: Columns of captions, best first; an empty cell gives none, a list one per entry.
        columns: Names of all columns in their order, for a CSV or TSV without a header, such as `[caption, url]`; empty
            where the first line is the header.
        max_misfit_frac: Largest share of rows that may not fit, in [0, 1].
        origin: `web`, or `human` if people wrote the captions for the pictures.
    """

    path: str
    url_column: str = "url"
    caption_columns: tuple[str, ...] = ("caption",)
    columns: tuple[str, ...] = ()
    max_misfit_frac: float = 0.5
    origin: str = "web"

    def __post_init__(self) -> None:
        kind = list_format(Path(self.path))
        if kind not in FORMATS:
            raise ValueError(f"path must end in one of {', '.join(FORMATS)}, got {self.path!r}")
        if self.origin not in ORIGINS:
            raise ValueError(f"origin must be one of {', '.join(ORIGINS)}, got {self.origin!r}")
        if not 0 <= self.max_misfit_frac <= 1:
            raise ValueError(f"max_misfit_frac must be in [0, 1], got {self.max_misfit_frac}")
        if self.url_column in self.caption_columns:
            raise ValueError(f"caption_columns must not name the url_column, got {self.url_column!r}")
        if self.columns and kind not in DELIMITERS:
            raise ValueError(f"columns must be empty but for {' and '.join(DELIMITERS)}, got {list(self.columns)}")
        lacking = [name for name in (self.url_column, *self.caption_columns) if name not in self.columns]
        if self.columns and (lacking or len(set(self.columns)) < len(self.columns)):
            wanted = ", ".join((self.url_column, *self.caption_columns))
            raise ValueError(f"columns must name each column once, {wanted} among them, got {list(self.columns)}")


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

    async def links(self, fetcher: Fetcher | None) -> AsyncIterator[Link]:
        """One link per row that has a URL, in the order of the list; nobody is asked, `fetcher` only counts.

        Raises:
            ValueError: The list cannot be read, lacks a column, or more than `max_misfit_frac` of its rows do not fit.
        """
        config, losses, num_rows = self.config, Losses(self.config.path), 0
        page_url = utf8_text(self.path.name)
        for row in read_rows(self.path, config.path, config.url_column, config.caption_columns, config.columns):
            num_rows += 1
            if row.values is None:
                losses.add(MISFIT, f"{row.place}: {row.problem}")
                continue
            try:
                url, captions = cell_url(row.values[config.url_column]), self._captions(row.values)
            except CellError as error:
                losses.add(MISFIT, f"{row.place}: {error}")
                continue
            if url:
                yield Link(url=url, captions=captions, page_url=page_url)
            elif list_format(self.path) != ".txt":
                losses.add("no_url")
        if losses.counts[MISFIT] > config.max_misfit_frac * num_rows:
            raise ValueError(
                f"{config.path}: {losses.counts[MISFIT]} of {num_rows} rows do not fit, more than max_misfit_frac = "
                f"{config.max_misfit_frac}: {losses.first(MISFIT)}"
            )
        losses.report(fetcher)

    def _captions(self, row: Mapping[str, Any]) -> tuple[Caption, ...]:
        """Captions of a row; a column that its object lacks has none."""
        places: dict[str, str] = {}
        for column in self.config.caption_columns:
            for each in cell_texts(row.get(column)):
                if text := clean_text(each):
                    places.setdefault(text, column)
        origin = self.config.origin
        return tuple(Caption(text=text, origin=origin, place=f"column:{column}") for text, column in places.items())
