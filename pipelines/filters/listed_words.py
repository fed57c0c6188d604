"""Keeps captions by the share of their words that are in a list: few flagged words, or enough stop words.

Source: the ratios of flagged words and of stop words of Laurencon et al. 2022 (ROOTS), arXiv:2303.03915, and of Chen et
al. 2023 (Data-Juicer), arXiv:2309.02033. What a word is: `pipelines.shared.words`. Differs from both: no list comes
with it, it is the user's file; and words are not joined to groups, which is how they find words of languages without
white space between them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from pipelines.shared.files import checked_lines
from pipelines.shared.records import REASON
from pipelines.shared.words import words_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Settings; at least one of the shares is given.

    Attributes:
        file: A text file with a word a line.
        sha256: Digest of the file, 64 hex digits.
        min_frac: Least share of a caption's words that are in the list, in [0, 1]; a caption without words has 0.
        max_frac: Largest share.
        reason: Code of the rejections, so that two lists can be told apart.
    """

    file: str
    sha256: str
    min_frac: float = 0.0
    max_frac: float = 1.0
    reason: str = "listed_words"

    def __post_init__(self) -> None:
        if not 0 <= self.min_frac <= self.max_frac <= 1:
            raise ValueError(f"min_frac and max_frac must be in [0, 1], in order, got {self.min_frac}, {self.max_frac}")
        if (self.min_frac, self.max_frac) == (0, 1):
            raise ValueError("min_frac or max_frac must be given")
        if not REASON.fullmatch(self.reason) or ":" in self.reason:
            raise ValueError(f"reason must be a code of small letters, digits and underscores, got {self.reason!r}")


class Filter:
    """Keeps captions whose share of listed words is within the limits."""

    scope: Literal["sample", "caption"] = "caption"
    columns = ("caption_text",)

    def __init__(self, config: Config) -> None:
        """Reads the list.

        Raises:
            ValueError: The file is another one, or has a line that is not one word.
        """
        self.config = config
        self.reason = config.reason
        lines = [(line, words_of(line)) for line in checked_lines(Path(config.file), config.sha256)]
        for line, words in lines:
            if len(words) != 1:
                raise ValueError(f"{config.file}: a line must have one word, got {line!r}")
        self.words = frozenset(word for _, (word,) in lines)

    def keep(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """Which rows to keep, bool [N], from str [N]."""
        shares = np.fromiter(map(self._share, columns["caption_text"]), np.float64, len(columns["caption_text"]))
        return (self.config.min_frac <= shares) & (shares <= self.config.max_frac)

    def _share(self, text: str) -> float:
        words = words_of(text)
        return sum(word in self.words for word in words) / max(len(words), 1)
