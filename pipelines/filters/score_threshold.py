"""Keeps rows by the value of any numeric column: at least, at most, or the top fraction of all rows.

The top fraction is DataComp's rule (arXiv:2304.14108, CLIP score filtering): over all N rows with a value, the
threshold is the value at position floor(N * fraction) of the values in falling order, and every row that reaches it is
kept, ties included. Differs from DataComp: a fraction of 1 takes the lowest value instead of passing the end of the
list.
"""

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

COLUMN = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Settings; at least one of the last three must be given, and `top_frac` excludes `min_value`.

    Attributes:
        column: Name of a numeric column.
        scope: `sample` for a value per sample, `caption` for a value per caption.
        min_value: Least value that is kept.
        max_value: Greatest value that is kept.
        top_frac: Share of all rows of the filter's sources, in (0, 1].
    """

    column: str
    scope: Literal["sample", "caption"] = "sample"
    min_value: float | None = None
    max_value: float | None = None
    top_frac: float | None = None

    def __post_init__(self) -> None:
        if not COLUMN.fullmatch(self.column):
            raise ValueError(f"column must match {COLUMN.pattern}, got {self.column!r}")
        if self.min_value is None and self.max_value is None and self.top_frac is None:
            raise ValueError("one of min_value, max_value and top_frac must be given")
        if self.top_frac is not None and self.min_value is not None:
            raise ValueError("top_frac and min_value exclude each other")
        if self.top_frac is not None and not 0 < self.top_frac <= 1:
            raise ValueError(f"top_frac must be in (0, 1], got {self.top_frac}")
        if self.min_value is not None and self.max_value is not None and self.min_value > self.max_value:
            raise ValueError(f"min_value {self.min_value} is greater than max_value {self.max_value}")


class Filter:
    """Keeps rows whose value is in [min_value, max_value]; with `top_frac` it must be fitted first."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.scope = config.scope
        self.columns = (config.column,)
        self.reason = f"threshold_{config.column}"
        self.is_fitted = config.top_frac is None

    def fitted(self, columns: Mapping[str, np.ndarray]) -> "Filter":
        """The filter with the top fraction turned into a least value."""
        assert self.config.top_frac is not None, "it is fitted already"
        threshold = top_threshold(_numbers(columns, self.config.column), self.config.top_frac)
        return Filter(dataclasses.replace(self.config, top_frac=None, min_value=threshold))

    def thresholds(self) -> dict[str, float]:
        """The limits that hold."""
        limits = {"min_value": self.config.min_value, "max_value": self.config.max_value}
        return {name: float(value) for name, value in limits.items() if value is not None}

    def keep(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """Which rows to keep, bool [N], from numbers [N]; NaN is never kept."""
        assert self.is_fitted, "a top fraction must be fitted before it can judge"
        values = _numbers(columns, self.config.column)
        keep = ~np.isnan(values)
        if self.config.min_value is not None:
            keep &= values >= self.config.min_value
        if self.config.max_value is not None:
            keep &= values <= self.config.max_value
        return keep


def top_threshold(values: np.ndarray, top_frac: float) -> float:
    """DataComp's threshold of float64 [N]; NaN where no row has a value."""
    known = np.sort(values[~np.isnan(values)])[::-1]
    if not len(known):
        return float("nan")
    return float(known[min(int(len(known) * top_frac), len(known) - 1)])


def _numbers(columns: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    values = columns[name]
    if values.dtype.kind not in "biuf":
        raise ValueError(f"score_threshold: column {name} does not hold numbers")
    return values.astype(np.float64)
