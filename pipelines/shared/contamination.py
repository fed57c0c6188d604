"""Decontamination: which samples of training and validation are near one of the test split.

What `duplicates` links never stands on two sides of a split. This looks again with limits of its own, wider or of
another kind: hashes, embeddings, texts. A benchmark is a source whose test share is 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from pipelines.shared.cosine_pairs import cosine_pairs, embedding_rows
from pipelines.shared.duplicates import hamming_pairs
from pipelines.shared.minhash import TextDuplicates, jaccard_pairs


@dataclass(frozen=True, kw_only=True, slots=True)
class Decontamination:
    """How near is too near; a limit that is not given is not looked at.

    Attributes:
        radius: Most bits by which two perceptual hashes differ, 0 to 8.
        min_cosine: Least cosine of two embeddings, in (0, 1].
        min_jaccard: Least similarity of two captions (`minhash`), in (0, 1].
    """

    radius: int | None = None
    min_cosine: float | None = None
    min_jaccard: float | None = None

    def __post_init__(self) -> None:
        if self.radius is not None and not 0 <= self.radius <= 8:
            raise ValueError(f"radius must be from 0 to 8, got {self.radius}")
        for name in ("min_cosine", "min_jaccard"):
            if (value := getattr(self, name)) is not None and not 0 < value <= 1:
                raise ValueError(f"{name} must be in (0, 1], got {value}")


class Texts(NamedTuple):
    """Captions of N samples.

    Attributes:
        unique: The different ones, none empty.
        codes: int64 [C], position in `unique` of each caption.
        owners: int64 [C], sample of each caption.
    """

    unique: Sequence[str]
    codes: np.ndarray
    owners: np.ndarray


def near_hashes(hashes: np.ndarray, owners: np.ndarray, is_test: np.ndarray, radius: int) -> np.ndarray:
    """Which of N samples are not of the test and near one that is, bool [N].

    Args:
        hashes: uint64 [H].
        owners: int64 [H], the sample of each hash.
        is_test: bool [N].
        radius: Most bits that differ.
    """
    near = np.zeros(len(is_test), dtype=bool)
    for left, right in hamming_pairs(hashes, radius):
        first, second = owners[left], owners[right]
        near[first[is_test[second]]] = True
        near[second[is_test[first]]] = True
    return near & ~is_test


def near_embeddings(values: list[bytes | None], is_test: np.ndarray, min_cosine: float) -> np.ndarray:
    """The same by embeddings, see `cosine_pairs.embedding_rows`."""
    near = np.zeros(len(is_test), dtype=bool)
    rows, owners = embedding_rows(values)
    tests = is_test[owners]
    for left, _ in cosine_pairs(rows[~tests], rows[tests], min_cosine):
        near[owners[~tests][left]] = True
    return near


def near_texts(texts: Texts, is_test: np.ndarray, settings: TextDuplicates, min_jaccard: float) -> np.ndarray:
    """The same by captions, equal ones included."""
    in_test = np.zeros(len(texts.unique), dtype=bool)
    in_test[texts.codes[is_test[texts.owners]]] = True
    near_test = in_test.copy()
    for left, right in jaccard_pairs(texts.unique, replace(settings, min_jaccard=min_jaccard)):
        near_test[left[in_test[right]]] = True
        near_test[right[in_test[left]]] = True
    near = np.zeros(len(is_test), dtype=bool)
    near[texts.owners[near_test[texts.codes]]] = True
    return near & ~is_test
