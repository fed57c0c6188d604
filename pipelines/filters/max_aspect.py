"""Rejects elongated pictures and clips (DataComp, arXiv:2304.14108: aspect ratio over 3)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Settings.

    Attributes:
        max_aspect: Most that the longer side may be of the shorter one, at least 1.
    """

    max_aspect: float

    def __post_init__(self) -> None:
        if not self.max_aspect >= 1:
            raise ValueError(f"max_aspect must be at least 1, got {self.max_aspect}")


class Filter:
    """Keeps samples whose longer side is at most `max_aspect` times the shorter one."""

    scope: Literal["sample", "caption"] = "sample"
    columns = ("width", "height")
    reason = "long_aspect"

    def __init__(self, config: Config) -> None:
        self.config = config

    def keep(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """Which rows to keep, bool [N], from two integer [N] in pixels."""
        width, height = columns["width"], columns["height"]
        return np.maximum(width, height) <= self.config.max_aspect * np.minimum(width, height)
