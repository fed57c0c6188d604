"""Near duplicates by embedding: all pairs of rows whose cosine reaches a threshold, without a miss.

A blocked product of all rows in float32 gives the pairs that may reach it; each is then decided by an exact sum of
products of coordinates rounded to 20 bits, so that neither blocks, threads nor processors change a decision. Memory is
a block of products beside the rows. Time is quadratic: 100,000 rows of 512 are 2.6 * 10^12 multiplications.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

BLOCK_BYTES = 1 << 26
FIXED_POINT = float(1 << 20)
PAIR_ROWS = 1 << 12


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbeddingDuplicates:
    """When two samples are one by their embeddings; clip-retrieval takes 0.94 for CLIP ViT-L/14.

    Attributes:
        enabled: Whether to look for them at all.
        min_cosine: Least cosine of two samples that are one, in (0, 1].
    """

    enabled: bool = False
    min_cosine: float = 0.94

    def __post_init__(self) -> None:
        if not 0 < self.min_cosine <= 1:
            raise ValueError(f"min_cosine must be in (0, 1], got {self.min_cosine}")


def embedding_rows(values: list[bytes | None]) -> tuple[np.ndarray, np.ndarray]:
    """Rows from little-endian float16, of N samples.

    Returns:
        float32 [M, D] of length 1, and int64 [M], the samples that have a row other than 0.

    Raises:
        ValueError: They are not of one width, or hold what is not finite.
    """
    owners = [row for row, value in enumerate(values) if value]
    widths = {len(value) for value in values if value}
    if len(widths) > 1 or any(width % 2 for width in widths):
        raise ValueError(f"embeddings must be float16 rows of one width, got rows of {sorted(widths)} bytes")
    if not owners:
        return np.zeros((0, 1), dtype=np.float32), np.zeros(0, dtype=np.int64)
    rows = np.frombuffer(b"".join(value for value in values if value), dtype="<f2").reshape(len(owners), -1)
    if not np.isfinite(rows).all():
        raise ValueError("embeddings must be finite")
    lengths = np.sqrt(np.square(rows, dtype=np.float64).sum(axis=1))
    known = np.flatnonzero(lengths > 0)
    unit = (rows[known] / lengths[known, None]).astype(np.float32)
    return unit, np.array(owners, dtype=np.int64)[known]


def cosine_pairs(rows: np.ndarray, others: np.ndarray, min_cosine: float) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """All pairs of a row of one set and a row of another whose cosine is at least `min_cosine`, each once.

    Args:
        rows: float32 [N, D] of length 1.
        others: float32 [M, D] of length 1; where it is the same array, pairs are of two different rows, the first one
            earlier.
        min_cosine: In (0, 1].

    Yields:
        Two int64 arrays of positions.
    """
    is_same = rows is others
    margin = (rows.shape[1] + 2) * 2.0**-23  # what float32 sums of products of unit rows may be off by
    step = max(1, BLOCK_BYTES // (4 * max(len(others), 1)))
    for start in range(0, len(rows), step):
        block = rows[start : start + step]
        offset = start if is_same else 0
        left, right = np.nonzero(block @ others[offset:].T >= np.float32(min_cosine - margin))
        left, right = left + start, right + offset
        if is_same:
            left, right = left[left < right], right[left < right]
        reached = _reach(rows, others, left, right, min_cosine)
        if reached.any():
            yield left[reached], right[reached]


def _reach(rows: np.ndarray, others: np.ndarray, left: np.ndarray, right: np.ndarray, min_cosine: float) -> np.ndarray:
    """Whether pairs reach the threshold, bool [P]: sums of whole numbers below 2^53, which are exact in float64."""
    reached = np.zeros(len(left), dtype=bool)
    for start in range(0, len(left), PAIR_ROWS):
        part = slice(start, start + PAIR_ROWS)
        first, second = (
            np.rint(side[at[part]].astype(np.float64) * FIXED_POINT) for side, at in ((rows, left), (others, right))
        )
        reached[part] = (first * second).sum(axis=1) >= min_cosine * FIXED_POINT**2
    return reached
