"""Repetition, special characters and boilerplate in each caption: what marks spam, machine text and stock phrases.

Sources: Laurencon et al. 2022 (ROOTS), arXiv:2303.03915, section on filtering; Chen et al. 2023 (Data-Juicer),
arXiv:2309.02033, whose ratios of repeated characters and words these are, with its lengths of 10 as defaults. The two
count unlike: of characters the most frequent n-grams alone, at most the square root of how many different ones there
are; of words all n-grams that occur more than once.

What a word and a special character are: `pipelines.shared.words`. Boilerplate is none of Data-Juicer's ratios.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from pipelines.annotators import AnnotatorInput
from pipelines.shared.words import is_special, seen, words_of

BOILERPLATE = (
    r"(?i)\b(royalty[- ]free|stock (photo|photograph|image|picture|illustration|footage|vector)s?)\b",
    r"(?i)\b(free )?(download|wallpaper|clip ?art|thumbnail)s?\b",
    r"(?i)\b(click|tap) (here|to (view|enlarge|zoom|see))\b|\bread more\b|\bview larger( image)?\b",
    r"(?i)\b(image|photo|picture) (result|credit|courtesy|source|may contain)s?\b:?",
    r"(?i)\b(photo|photographed|image|picture|illustration|posted) by\b",
    r"(?i)\b(all rights reserved|copyright|getty images|shutterstock|alamy|istock|dreamstime|depositphotos)\b|[©®™]",
    r"(?i)\b\d{2,5} ?[x\u00d7] ?\d{2,5}( ?px)?\b",
    r"(?i)\b[\w-]{1,100}\.(jpe?g|png|gif|webp|svg|bmp|tiff?|mp4)\b",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Settings.

    Attributes:
        character_ngram: Characters of what counts as repeated, at least 1.
        word_ngram: Words of what counts as repeated, at least 1.
        boilerplate: Regular expressions of Python's, searched anywhere in a caption.
    """

    character_ngram: int = 10
    word_ngram: int = 10
    boilerplate: tuple[str, ...] = BOILERPLATE

    def __post_init__(self) -> None:
        for name in ("character_ngram", "word_ngram"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for pattern in self.boilerplate:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"boilerplate: {pattern!r} is not a regular expression: {error}") from error


class Annotator:
    """Shares per caption, all in [0, 1].

    Columns: `caption_character_repetition`, `caption_word_repetition`; `caption_special_frac` (of the code points that
    are seen); `caption_boilerplate_frac` (of the code points that are not white space, those inside a match of a
    pattern).
    """

    columns: ClassVar[dict[str, str]] = {
        "caption_character_repetition": "list<float64>",
        "caption_word_repetition": "list<float64>",
        "caption_special_frac": "list<float64>",
        "caption_boilerplate_frac": "list<float64>",
    }
    batch_size = 1
    reads_pixels = False

    def __init__(self, config: Config) -> None:
        self.config = config
        self.boilerplate = [re.compile(pattern) for pattern in config.boilerplate]

    def annotate(self, samples: Sequence[AnnotatorInput]) -> list[dict[str, Any]]:
        """Shares of each sample's captions."""
        return [self._shares([caption.text for caption in sample.captions]) for sample in samples]

    def _shares(self, texts: Sequence[str]) -> dict[str, list[float]]:
        config = self.config
        return {
            "caption_character_repetition": [character_repetition(text, config.character_ngram) for text in texts],
            "caption_word_repetition": [word_repetition(text, config.word_ngram) for text in texts],
            "caption_special_frac": [special_frac(seen(text)) for text in texts],
            "caption_boilerplate_frac": [covered_frac(text, self.boilerplate) for text in texts],
        }


def special_frac(text: str) -> float:
    """Share of a text's code points that are neither letters nor marks on one, white space among them."""
    return sum(map(is_special, text)) / max(len(text), 1)


def character_repetition(text: str, length: int) -> float:
    """Share of a text's character n-grams that are occurrences of the most frequent repeated ones.

    Of D different n-grams at most floor(sqrt(D)) count as the most frequent; 0 for a text of fewer characters.
    """
    counts = Counter(text[start : start + length] for start in range(len(text) - length + 1))
    if not counts:
        return 0.0
    repeated = sorted((count for count in counts.values() if count > 1), reverse=True)
    return sum(repeated[: math.isqrt(len(counts))]) / counts.total()


def word_repetition(text: str, length: int) -> float:
    """Share of a text's word n-grams that occur more than once; 0 for a text of fewer words."""
    words = words_of(text)
    counts = Counter(tuple(words[start : start + length]) for start in range(len(words) - length + 1))
    return sum(count for count in counts.values() if count > 1) / counts.total() if counts else 0.0


def covered_frac(text: str, patterns: Iterable[re.Pattern[str]]) -> float:
    """Share of a text's code points other than white space that lie in a match of any of the patterns."""
    inside = {position for pattern in patterns for match in pattern.finditer(text) for position in range(*match.span())}
    dense = [position for position, character in enumerate(text) if not character.isspace()]
    return sum(position in inside for position in dense) / max(len(dense), 1)
