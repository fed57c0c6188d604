"""Keeps captions with a word of a list (DataComp's text-based filter, arXiv:2304.14108).

DataComp keeps a caption if the first WordNet synset of any of its words, which white space separates, is a class of
ImageNet-21K. Differs from it: which words these are is a file that the user makes once with WordNet, inflected forms
included; WordNet lowers letters and so does this rule, and like there a word keeps its punctuation.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from pipelines.shared.files import checked_lines
from pipelines.shared.words import lowered, seen


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Settings.

    Attributes:
        file: A text file with a word a line.
        sha256: Digest of the file, 64 hex digits.
        min_words: Fewest words of the list in a caption, at least 1.
    """

    file: str
    sha256: str
    min_words: int = 1

    def __post_init__(self) -> None:
        if self.min_words < 1:
            raise ValueError(f"min_words must be at least 1, got {self.min_words}")


class Filter:
    """Keeps captions of which at least `min_words` words are in the list."""

    scope: Literal["sample", "caption"] = "caption"
    columns = ("caption_text",)
    reason = "no_known_word"

    def __init__(self, config: Config) -> None:
        self.config = config
        self.words = frozenset(lowered(seen(word)) for word in checked_lines(Path(config.file), config.sha256))

    def keep(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """Which rows to keep, bool [N], from str [N]."""
        counts = (sum(word in self.words for word in lowered(seen(text)).split()) for text in columns["caption_text"])
        return np.fromiter((count >= self.config.min_words for count in counts), bool, len(columns["caption_text"]))
