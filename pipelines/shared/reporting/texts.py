"""How long captions are, how many differ, and where they come from."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

LENGTHS = ((1, 1), (2, 2), (3, 3), (4, 5), (6, 8), (9, 12), (13, 20), (21, 40), (41, None))  # words, both ends in
PERCENTILES = (5, 50, 95)


@dataclass(frozen=True, kw_only=True, slots=True)
class TextStatistics:
    """Captions of one place and origin.

    Attributes:
        place: The source or round.
        origin: `web`, `human` or `synthetic`.
        num_texts: How many.
        num_distinct: How many different ones.
        mean_words: Words per caption.
        percentiles: Words at the 5th, 50th and 95th percentile.
        max_words: Words of the longest.
        histogram: Captions by length, as in `LENGTHS`.
    """

    place: str
    origin: str
    num_texts: int
    num_distinct: int
    mean_words: float
    percentiles: tuple[float, ...]
    max_words: int
    histogram: tuple[int, ...]


def text_statistics(place: str, captions: Iterable[tuple[str, str]]) -> list[TextStatistics]:
    """Statistics by origin.

    Args:
        place: Where the captions are.
        captions: Text and origin of each.
    """
    words: dict[str, list[int]] = {}
    distinct: dict[str, set[str]] = {}
    for text, origin in captions:
        words.setdefault(origin, []).append(len(text.split()))
        distinct.setdefault(origin, set()).add(text)
    return [
        TextStatistics(
            place=place,
            origin=origin,
            num_texts=len(counts),
            num_distinct=len(distinct[origin]),
            mean_words=float(np.mean(counts)),
            percentiles=tuple(float(value) for value in np.percentile(counts, PERCENTILES)),
            max_words=max(counts),
            histogram=_histogram(counts),
        )
        for origin, counts in sorted(words.items())
    ]


def length_names() -> list[str]:
    """The classes of `TextStatistics.histogram` in words."""
    return [str(low) if low == high else f"{low}-{high}" if high else f"{low}+" for low, high in LENGTHS]


def _histogram(counts: Iterable[int]) -> tuple[int, ...]:
    """By the classes of `LENGTHS`; a caption of blanks alone is among the shortest."""
    found: Counter[int] = Counter(max(count, 1) for count in counts)
    return tuple(
        sum(number for count, number in found.items() if low <= count <= (high or count)) for low, high in LENGTHS
    )
