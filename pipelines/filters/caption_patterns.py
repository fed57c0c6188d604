"""Rejects captions that match a regular expression: boilerplate, attributions, date stamps, file names.

Patterns are Python's, searched anywhere in the caption; `(?i)` ignores case, `^` and `$` anchor. They are the owner's
own and are trusted: one that backtracks without end will do so.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Settings.

    Attributes:
        patterns: Regular expressions, at least one.
    """

    patterns: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.patterns:
            raise ValueError("patterns must name at least one regular expression")
        for pattern in self.patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"patterns: {pattern!r} is not a regular expression: {error}") from error


class Filter:
    """Keeps captions that none of the patterns matches."""

    scope: Literal["sample", "caption"] = "caption"
    columns = ("caption_text",)
    reason = "caption_pattern"

    def __init__(self, config: Config) -> None:
        self.patterns = tuple(re.compile(pattern) for pattern in config.patterns)

    def keep(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """Which rows to keep, bool [N], from str [N]."""
        texts = columns["caption_text"]
        keep = np.ones(len(texts), dtype=bool)
        for pattern in self.patterns:
            keep &= np.fromiter((pattern.search(text) is None for text in texts), dtype=bool, count=len(texts))
        return keep
