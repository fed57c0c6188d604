"""Keeps rows by the value of any numeric column: fixed limits, quantiles, distance from the mean, or the top fraction.

The top fraction is DataComp's rule (arXiv:2304.14108, CLIP score filtering): over all N rows with a value, the
threshold is the value at position floor(N * fraction) of the values in falling order, and every row that reaches it is
kept, ties included. Differs from DataComp: a fraction of 1 takes the lowest value instead of passing the end of the
list. Quantiles are numpy's linear ones (Hyndman and Fan 1996, type 7), and both ends are kept. `sigmas` is how
Data-Juicer's recipes were made (arXiv:2309.02033): mean plus and minus so many population standard deviations.
"""

import dataclasses
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

COLUMN = re.compile(r"[a-z][a-z0-9_]*")
LOWER = ("min_value", "above", "top_frac", "min_quantile", "sigmas")
UPPER = ("max_value", "below", "max_quantile", "sigmas")
FITTED = ("top_frac", "min_quantile", "max_quantile", "sigmas")
FIXED = ("min_value", "above", "max_value", "below")


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Settings; at most one lower limit and one upper limit, and at least one of both.

    Attributes:
        column: Name of a numeric column.
        scope: `sample` for a value per sample, `caption` for a value per caption.
        min_value: Least value that is kept.
        above: Number above which a value is kept, itself not.
        max_value: Greatest value that is kept.
        below: Number below which a value is kept, itself not.
        top_frac: Share of all rows of the filter's sources, in (0, 1].
        min_quantile: The least value is that quantile of all rows, in [0, 1].
        max_quantile: The greatest value is that quantile of all rows, in [0, 1].
        sigmas: Both limits are so many standard deviations from the mean of all rows, above 0.
        keep_missing: Whether rows without a value are kept, such as pictures by a rule on a clip's motion.
    """

    column: str
    scope: Literal["sample", "caption"] = "sample"
    min_value: float | None = None
    above: float | None = None
    max_value: float | None = None
    below: float | None = None
    top_frac: float | None = None
    min_quantile: float | None = None
    max_quantile: float | None = None
    sigmas: float | None = None
    keep_missing: bool = False

    def __post_init__(self) -> None:
        if not COLUMN.fullmatch(self.column):
            raise ValueError(f"column must match {COLUMN.pattern}, got {self.column!r}")
        lower, upper = (self.given(names) for names in (LOWER, UPPER))
        if not lower and not upper:
            raise ValueError(f"one of {', '.join(dict.fromkeys((*LOWER, *UPPER)))} must be given")
        for given in (lower, upper):
            if len(given) > 1:
                raise ValueError(f"{' and '.join(given)} exclude each other")
        for name in (*FIXED, *FITTED):
            value = getattr(self, name)
            if value is not None and not np.isfinite(value):
                raise ValueError(f"{name} must be finite, got {value}")
        if self.top_frac is not None and not 0 < self.top_frac <= 1:
            raise ValueError(f"top_frac must be in (0, 1], got {self.top_frac}")
        for name in ("min_quantile", "max_quantile"):
            if (value := getattr(self, name)) is not None and not 0 <= value <= 1:
                raise ValueError(f"{name} must be in [0, 1], got {value}")
        if self.sigmas is not None and not self.sigmas > 0:
            raise ValueError(f"sigmas must be above 0, got {self.sigmas}")
        for first, second in (("min_value", "max_value"), ("above", "below"), ("min_quantile", "max_quantile")):
            low, high = getattr(self, first), getattr(self, second)
            if low is not None and high is not None and low > high:
                raise ValueError(f"{first} {low} is greater than {second} {high}")

    def given(self, names: tuple[str, ...]) -> list[str]:
        """Those of some settings that have a value."""
        return [name for name in names if getattr(self, name) is not None]


class Filter:
    """Keeps rows whose value is within the limits; what depends on all rows must be fitted first."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.scope = config.scope
        self.columns = (config.column,)
        self.reason = f"threshold_{config.column}"
        self.is_fitted = not config.given(FITTED)

    def fitted(self, columns: Mapping[str, np.ndarray]) -> "Filter":
        """The filter with fixed limits in place of what depends on all rows.

        Raises:
            ValueError: No row has a value.
        """
        assert not self.is_fitted, "it is fitted already"
        values = _numbers(columns, self.config.column)
        known = values[~np.isnan(values)]
        if not len(known):
            raise ValueError(f"score_threshold: no row has a value in {self.config.column} to fit a threshold to")
        limits = _limits(known, self.config)
        changes: dict[str, Any] = {**dict.fromkeys(FITTED), **limits}
        return Filter(dataclasses.replace(self.config, **changes))

    def thresholds(self) -> dict[str, float]:
        """The limits that hold."""
        return {name: float(getattr(self.config, name)) for name in self.config.given(FIXED)}

    def keep(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """Which rows to keep, bool [N], from numbers [N]; NaN is a missing value."""
        assert self.is_fitted, "a rule that depends on all rows must be fitted before it can judge"
        values = _numbers(columns, self.config.column)
        missing = np.isnan(values)
        keep = ~missing
        if self.config.min_value is not None:
            keep &= values >= self.config.min_value
        if self.config.above is not None:
            keep &= values > self.config.above
        if self.config.max_value is not None:
            keep &= values <= self.config.max_value
        if self.config.below is not None:
            keep &= values < self.config.below
        return keep | missing if self.config.keep_missing else keep


def top_threshold(values: np.ndarray, top_frac: float) -> float:
    """DataComp's threshold of float64 [N], N at least 1."""
    position = len(values) - 1 - min(int(len(values) * top_frac), len(values) - 1)
    return float(np.partition(values, position)[position])


def _limits(known: np.ndarray, config: Config) -> dict[str, float]:
    """Fixed limits that stand for the fitted ones."""
    limits: dict[str, float] = {}
    if config.top_frac is not None:
        limits["min_value"] = top_threshold(known, config.top_frac)
    if config.min_quantile is not None:
        limits["min_value"] = float(np.quantile(known, config.min_quantile))
    if config.max_quantile is not None:
        limits["max_value"] = float(np.quantile(known, config.max_quantile))
    if config.sigmas is not None:
        mean = math.fsum(known) / len(known)  # exact sums do not depend on the processor
        spread = config.sigmas * math.sqrt(math.fsum(np.square(known - mean)) / len(known))
        limits |= {"min_value": mean - spread, "max_value": mean + spread}
    return limits


def _numbers(columns: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    values = columns[name]
    if values.dtype.kind not in "biuf":
        raise ValueError(f"score_threshold: column {name} does not hold numbers")
    return values.astype(np.float64)
