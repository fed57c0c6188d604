"""Rejects pictures and clips whose shorter side is too short (DataComp, arXiv:2304.14108: under 200 pixels)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Settings.

    Attributes:
        min_side_px: Fewest pixels of the shorter side, at least 1.
    """

    min_side_px: int

    def __post_init__(self) -> None:
        if self.min_side_px < 1:
            raise ValueError(f"min_side_px must be at least 1, got {self.min_side_px}")


class Filter:
    """Keeps samples whose sides both have `min_side_px` pixels or more."""

    scope: Literal["sample", "caption"] = "sample"
    columns = ("width", "height")
    reason = "small_side"

    def __init__(self, config: Config) -> None:
        self.config = config

    def keep(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """Which rows to keep, bool [N], from two integer [N] in pixels."""
        return np.minimum(columns["width"], columns["height"]) >= self.config.min_side_px
