"""Near duplicates by text: pairs of captions whose sets of character n-grams overlap, by MinHash and LSH.

Sources: Broder 1997, "On the resemblance and containment of documents"; Leskovec, Rajaraman and Ullman, "Mining of
massive datasets", section 3.4, for banding. A pair is compared if any of `num_bands` groups of `rows_per_band` minima
are equal; what is compared is decided by its exact Jaccard similarity, so that no pair is given that does not reach the
threshold, and a pair of similarity s is missed with probability (1 - s^rows)^bands: with the defaults 5e-8 at 0.8.

Differs from the usual implementations: the similarity of candidates is not estimated from signatures but computed, and
permutations are multiplications modulo 2^64 of mixed hashes (Dietzfelbinger et al. 1997), not modulo a prime. The
estimate only spares the pairs that it puts far below the threshold.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from pipelines.shared.seeds import derive_seed

BLOCK = 1 << 18
PAIRS_AT_ONCE = 1 << 14


@dataclass(frozen=True, kw_only=True, slots=True)
class TextDuplicates:
    """When two captions are one.

    Attributes:
        enabled: Whether samples with such captions are duplicates.
        min_jaccard: Least share of n-grams in common, of all that either has, in (0, 1].
        ngram: Characters of an n-gram, at least 1; a shorter caption is one n-gram.
        num_bands: Groups of minima, at least 1.
        rows_per_band: Minima of a group, at least 1.
    """

    enabled: bool = False
    min_jaccard: float = 0.8
    ngram: int = 5
    num_bands: int = 32
    rows_per_band: int = 4

    def __post_init__(self) -> None:
        if not 0 < self.min_jaccard <= 1:
            raise ValueError(f"min_jaccard must be in (0, 1], got {self.min_jaccard}")
        for name in ("ngram", "num_bands", "rows_per_band"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")

    def recall(self, jaccard: float) -> float:
        """Share of pairs of a similarity that are found."""
        return 1.0 - float((1.0 - jaccard**self.rows_per_band) ** self.num_bands)


class Shingles(NamedTuple):
    """N-grams of N texts.

    Attributes:
        hashes: uint64 [S], of all n-grams of all texts one after another, repeated ones too.
        starts: int64 [N + 1], where each text's n-grams start.
    """

    hashes: np.ndarray
    starts: np.ndarray


def shingles(texts: Sequence[str], ngram: int) -> Shingles:
    """N-grams of texts, none of which is empty."""
    assert all(texts), "an empty text has no n-grams"
    padded = [text.ljust(ngram, "\0") for text in texts]
    points = np.frombuffer("".join(padded).encode("utf-32-le"), dtype="<u4")
    lengths = np.array([len(text) for text in padded], dtype=np.int64)
    counts = lengths - ngram + 1
    starts = np.concatenate([[0], np.cumsum(counts)])
    at = np.arange(starts[-1]) + np.repeat((ngram - 1) * np.arange(len(lengths)), counts)
    hashes = np.zeros(len(at), dtype=np.uint64)
    for place in range(ngram):
        hashes = _mixed(hashes + points[at + place])
    return Shingles(hashes, starts)


def signatures(grams: Shingles, num_minima: int) -> np.ndarray:
    """Minima of N texts under fixed random permutations, uint32 [N, num_minima]."""
    drawn = [[derive_seed(0, "minhash", name, number) for number in range(num_minima)] for name in ("factor", "shift")]
    factors, shifts = np.array(drawn, dtype=np.uint64)
    factors = 2 * factors + np.uint64(1)
    found = np.empty((len(grams.starts) - 1, num_minima), dtype=np.uint32)
    first = 0
    while first < len(found):
        last = max(first + 1, int(np.searchsorted(grams.starts, grams.starts[first] + BLOCK, side="right")) - 1)
        hashes = grams.hashes[grams.starts[first] : grams.starts[last]]
        starts = grams.starts[first:last] - grams.starts[first]
        for number in range(num_minima):
            permuted = hashes * factors[number] + shifts[number]
            found[first:last, number] = np.minimum.reduceat(permuted, starts) >> np.uint64(32)
        first = last
    return found


def jaccard_pairs(texts: Sequence[str], settings: TextDuplicates) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of different texts whose similarity is at least `min_jaccard`, each once.

    Args:
        texts: N texts, none empty.
        settings: Threshold and banding; see `TextDuplicates.recall` for what is missed.

    Yields:
        Two int64 arrays of positions; in each pair the first is the smaller one.
    """
    if len(texts) < 2:
        return
    grams = shingles(texts, settings.ngram)
    minima = signatures(grams, settings.num_bands * settings.rows_per_band)
    bands = _band_codes(minima.reshape(len(texts), settings.num_bands, settings.rows_per_band))
    least = settings.min_jaccard - 3 / minima.shape[1] ** 0.5  # an estimate so far off has a chance below e^-18
    for left, right in _candidates(bands):
        for start in range(0, len(left), PAIRS_AT_ONCE):
            first, second = left[start : start + PAIRS_AT_ONCE], right[start : start + PAIRS_AT_ONCE]
            may_reach = (minima[first] == minima[second]).mean(axis=1) >= least
            first, second = first[may_reach], second[may_reach]
            reached = jaccard(grams, first, second) >= settings.min_jaccard
            if reached.any():
                first, second = first[reached], second[reached]
                yield np.minimum(first, second), np.maximum(first, second)


def jaccard(grams: Shingles, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Similarity of pairs of texts, float64 [P]."""
    pairs, hashes = [], []
    for side in (left, right):
        counts = grams.starts[side + 1] - grams.starts[side]
        at = np.arange(counts.sum()) + np.repeat(grams.starts[side] - (np.cumsum(counts) - counts), counts)
        owners, values = np.repeat(np.arange(len(side)), counts), grams.hashes[at]
        order = np.lexsort((values, owners))
        owners, values = owners[order], values[order]
        fresh = np.ones(len(values), dtype=bool)
        fresh[1:] = (owners[1:] != owners[:-1]) | (values[1:] != values[:-1])
        pairs.append(owners[fresh])
        hashes.append(values[fresh])
    owners, values = np.concatenate(pairs), np.concatenate(hashes)
    order = np.lexsort((values, owners))
    owners, values = owners[order], values[order]
    twice = (owners[1:] == owners[:-1]) & (values[1:] == values[:-1])
    common = np.bincount(owners[1:][twice], minlength=len(left))
    return common / (np.bincount(owners, minlength=len(left)) - common)


def _candidates(bands: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of rows of uint64 [N, B] that agree in some column, each once."""
    for number in range(bands.shape[1]):
        codes = bands[:, number]
        order = np.argsort(codes, kind="stable")
        in_order = codes[order]
        here = np.arange(len(codes))
        for step in range(1, len(codes)):
            here = here[: np.searchsorted(here, len(codes) - step)]
            here = here[in_order[here] == in_order[here + step]]
            if not len(here):
                break
            left, right = order[here], order[here + step]
            fresh = ~(bands[left, :number] == bands[right, :number]).any(axis=1)
            if fresh.any():
                yield left[fresh], right[fresh]


def _band_codes(minima: np.ndarray) -> np.ndarray:
    """uint64 [N, B] from uint32 [N, B, R]."""
    codes = np.zeros(minima.shape[:2], dtype=np.uint64)
    for row in range(minima.shape[2]):
        codes = _mixed(codes + minima[:, :, row])
    return codes


def _mixed(values: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64 (Steele, Lea and Flood 2014) on uint64."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
