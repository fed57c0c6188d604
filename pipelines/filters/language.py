"""Keeps captions in given languages, by what an identifier wrote (DataComp and LAION-2B: English; Data-Juicer: 0.8).

DataComp (arXiv:2304.14108) takes the first language of fastText's lid.176 whatever its confidence, LAION-2B that of
gcld3; Data-Juicer (arXiv:2309.02033) asks for a confidence as well. The columns may be those of any identifier.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Settings.

    Attributes:
        languages: Codes as the identifier writes them, such as `en`; at least one.
        min_confidence: Least confidence, in [0, 1]; at 0 none is asked for.
        language_column: Column of the codes, per caption.
        confidence_column: Column of the confidences, per caption; read only if one is asked for.
    """

    languages: tuple[str, ...]
    min_confidence: float = 0.0
    language_column: str = "caption_language"
    confidence_column: str = "caption_language_confidence"

    def __post_init__(self) -> None:
        if not self.languages:
            raise ValueError("languages must name at least one language")
        if not 0 <= self.min_confidence <= 1:
            raise ValueError(f"min_confidence must be in [0, 1], got {self.min_confidence}")


class Filter:
    """Keeps captions whose language is one of `languages` with at least `min_confidence`."""

    scope: Literal["sample", "caption"] = "caption"
    reason = "language"

    def __init__(self, config: Config) -> None:
        self.config = config
        asked = (config.confidence_column,) if config.min_confidence > 0 else ()
        self.columns = (config.language_column, *asked)

    def keep(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """Which rows to keep, bool [N], from str [N] and float [N]."""
        found = columns[self.config.language_column]
        keep = np.zeros(len(found), dtype=bool)
        for language in self.config.languages:
            keep |= found == language
        if self.config.min_confidence > 0:
            keep &= columns[self.config.confidence_column] >= self.config.min_confidence
        return keep
