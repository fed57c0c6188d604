"""Counts over each caption's text: the columns that rules on words, letters and addresses read.

Words are runs between white space (DataComp's basic filter counts them so); shares are of all code points. Differs from
Data-Juicer's alphanumeric ratio in that white space, and what is not seen, is left out of the total, and in that marks
count with the letters that they belong to: a caption in Hindi is all letters.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from pipelines.annotators import AnnotatorInput
from pipelines.shared.words import alphanumerics, seen

URL = re.compile(r"https?://\S|\bwww\.\w", re.IGNORECASE)
EMAIL = re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}\.\w")


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """There is nothing to set: thresholds belong to the filters."""


class Annotator:
    """Counts and shares per caption.

    Columns: `num_captions`; and per caption `caption_words`, `caption_characters`, `caption_alphanumeric_frac`,
    `caption_digits_frac` (shares in [0, 1] of what is not white space), `caption_has_url`, `caption_has_email`.
    """

    columns: ClassVar[dict[str, str]] = {
        "num_captions": "int32",
        "caption_words": "list<int32>",
        "caption_characters": "list<int32>",
        "caption_alphanumeric_frac": "list<float64>",
        "caption_digits_frac": "list<float64>",
        "caption_has_url": "list<bool>",
        "caption_has_email": "list<bool>",
    }
    batch_size = 1
    reads_pixels = False

    def __init__(self, config: Config) -> None:
        self.config = config

    def annotate(self, samples: Sequence[AnnotatorInput]) -> list[dict[str, Any]]:
        """Counts of each sample's captions."""
        return [_counts([caption.text for caption in sample.captions]) for sample in samples]


def _counts(texts: Sequence[str]) -> dict[str, Any]:
    dense = ["".join(seen(text).split()) for text in texts]
    return {
        "num_captions": len(texts),
        "caption_words": [len(seen(text).split()) for text in texts],
        "caption_characters": [len(text) for text in texts],
        "caption_alphanumeric_frac": [alphanumerics(text) / max(len(text), 1) for text in dense],
        "caption_digits_frac": [sum(map(str.isdigit, text)) / max(len(text), 1) for text in dense],
        "caption_has_url": [URL.search(text) is not None for text in texts],
        "caption_has_email": [EMAIL.search(text) is not None for text in texts],
    }
