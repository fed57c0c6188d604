"""What a training run leaves of its course: `history.csv`, and histories for `dvc plots show`.

`history.csv` holds nothing that depends on the clock, so equal runs have equal files.
"""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any

from pipelines.shared.files import write_bytes
from pipelines.shared.inert_texts import csv_cell
from pipelines.shared.training.optim import MAIN

Row = dict[str, float]


def columns(split: str, values: Mapping[str, float]) -> Row:
    """Values of losses and terms by their columns.

    `main` is `train/loss`, `main/itc` is `train/itc`; in other optimizer groups, `generator` is `train/generator/loss`.
    """
    named = {}
    for name, value in values.items():
        group, _, term = name.partition("/")
        place = split if group == MAIN else f"{split}/{group}"
        named[f"{place}/{term or 'loss'}"] = value
    return named


class Averages:
    """Means of values since the last row; part of the resume file."""

    def __init__(self, sums: Mapping[str, float] | None = None, count: int = 0) -> None:
        """Goes on from saved sums."""
        self.sums = dict(sums or {})
        self.count = count

    def add(self, values: Mapping[str, float]) -> None:
        """Adds the values of a step."""
        self.count += 1
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value

    def take(self) -> Row:
        """The means, and a new beginning."""
        means = {name: value / self.count for name, value in self.sums.items()}
        self.sums, self.count = {}, 0
        return means


class History(AbstractContextManager["History"]):
    """Writes rows for `dvc plots show` as they come; nothing in a process that writes no files."""

    def __init__(self, folder: Path | None, rows: Sequence[Row] = ()) -> None:
        """Begins anew, with the rows that a resumed run already had.

        Args:
            folder: Where the files go; None for a process that writes nothing.
            rows: Rows so far.
        """
        self._live: Any = None
        if folder is not None:
            from dvclive import Live

            self._live = Live(dir=str(folder), dvcyaml=None, report=None, save_dvc_exp=False)
        for row in rows:
            self.add(row)

    def add(self, row: Row) -> None:
        """Logs a row at its `step`."""
        if self._live is not None:
            self._live.step = int(row["step"])
            for name, value in row.items():
                if name != "step":
                    self._live.log_metric(name, value)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Writes the last values as `metrics.json`."""
        if self._live is not None:
            self._live.make_summary()
            self._live.end()


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Rows as CSV with full precision; what a row lacks is empty."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, names, lineterminator="\n")
    writer.writerow({name: csv_cell(name) for name in names})
    writer.writerows({name: _spelled(value) for name, value in row.items()} for row in rows)
    write_bytes(path, buffer.getvalue().encode())


def _spelled(value: float) -> str:
    return str(int(value)) if math.isfinite(value) and value == int(value) else repr(value)
