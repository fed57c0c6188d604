"""Keeps rows whose value is in a list, or is not: sources, media, origins, or the lines of a file.

A file is how DataComp's image-based filter (arXiv:2304.14108) comes in: a column with the number of each picture's
nearest cluster, and a file of the numbers of those clusters that are nearest to a picture of ImageNet.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from pipelines.shared.files import checked_lines


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Settings; either `values` or `file` is given.

    Attributes:
        column: A column of texts or whole numbers.
        scope: `sample` for a value per sample, `caption` for a value per caption.
        values: The list.
        file: A text file with a value a line.
        sha256: Digest of the file, 64 hex digits.
        keep: Whether rows that are `listed` are kept, or the `others`; a row without a value is among the others.
    """

    column: str
    scope: Literal["sample", "caption"] = "sample"
    values: tuple[str | int, ...] = ()
    file: str = ""
    sha256: str = ""
    keep: Literal["listed", "others"] = "listed"

    def __post_init__(self) -> None:
        if bool(self.values) == bool(self.file):
            raise ValueError("either values or file must be given")
        if bool(self.file) != bool(self.sha256):
            raise ValueError("file and sha256 belong together")


class Filter:
    """Keeps rows by whether their value is listed."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.scope = config.scope
        self.columns = (config.column,)
        self.reason = f"{'unlisted' if config.keep == 'listed' else 'listed'}_{config.column}"
        listed = config.values or checked_lines(Path(config.file), config.sha256)
        self.listed = frozenset(str(value) for value in listed)

    def keep(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """Which rows to keep, bool [N], from texts or numbers [N].

        Raises:
            ValueError: The column holds fractions.
        """
        values = columns[self.config.column]
        if values.dtype.kind == "f":
            values = self._whole(values)
        unique, inverse = np.unique(
            values.astype(str) if values.dtype.kind != "O" else _texts(values), return_inverse=True
        )
        is_listed = np.fromiter((value in self.listed for value in unique.tolist()), dtype=bool, count=len(unique))
        return is_listed[inverse] if self.config.keep == "listed" else ~is_listed[inverse]

    def _whole(self, values: np.ndarray) -> np.ndarray:
        """Whole numbers that are floats because some rows have none, as texts; those rows are empty."""
        missing = np.isnan(values)
        if (values[~missing] % 1).any():
            raise ValueError(f"listed: column {self.config.column} holds fractions")
        texts = np.where(missing, 0, values).astype(np.int64).astype(object)
        texts[missing] = None
        return _texts(texts)


def _texts(values: np.ndarray) -> np.ndarray:
    """Texts of objects; None is an empty text, which no list has."""
    return np.array(["" if value is None else str(value) for value in values], dtype=str)
