"""Rejects captions of too few words (DataComp, arXiv:2304.14108: under 3)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Settings.

    Attributes:
        min_words: Fewest words (runs between white space) of a caption, at least 1.
    """

    min_words: int

    def __post_init__(self) -> None:
        if self.min_words < 1:
            raise ValueError(f"min_words must be at least 1, got {self.min_words}")


class Filter:
    """Keeps captions of `min_words` words or more."""

    scope: Literal["sample", "caption"] = "caption"
    columns = ("caption_words",)
    reason = "few_words"

    def __init__(self, config: Config) -> None:
        self.config = config

    def keep(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """Which rows to keep, bool [N], from integer [N]."""
        return columns["caption_words"] >= self.config.min_words
