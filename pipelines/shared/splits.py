"""Which split a sample belongs to, so that twins never stand on two sides.

Samples are clustered by what they look like (`duplicates`) and by equal human captions over all media: a moving emoji
and its still twin of the same name share a cluster. A cluster's split depends on (seed, key of its first member)
alone, not on how many other samples there are; members that come or go move it only if they bind clusters or become
the first.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow
import pyarrow.compute

from pipelines.shared.params import suggestion
from pipelines.shared.seeds import unit_interval
from pipelines.shared.words import DOTTED_I, alphanumeric_runs, seen

SPLITS = ("train", "val", "test")
ASCII_RUNS = re.compile(r"[a-z0-9]+")
DEFAULT_VAL_FRAC = 0.05
DEFAULT_TEST_FRAC = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitShares:
    """Shares of the splits; the rest is for training.

    Attributes:
        val: Share of clusters for validation, one number or a number per source (0.05 for a source without).
        test: The same for the test (0.1 for a source without).
    """

    val: float | Mapping[str, float] = DEFAULT_VAL_FRAC
    test: float | Mapping[str, float] = DEFAULT_TEST_FRAC

    def of(self, sources: Sequence[str], where: str) -> tuple[np.ndarray, np.ndarray]:
        """Shares for validation and test, float64 [S], by the order of the sources.

        Raises:
            ValueError: A source is unknown, a share is not in [0, 1], or the two add up to more than 1.
        """
        val = _shares(self.val, DEFAULT_VAL_FRAC, sources, f"{where}.val")
        test = _shares(self.test, DEFAULT_TEST_FRAC, sources, f"{where}.test")
        for source, total in zip(sources, val + test, strict=True):
            if total > 1 + 1e-12:
                raise ValueError(f"{where}: val and test of {source} add up to {total}, more than 1")
        return val, test


def _shares(given: float | Mapping[str, float], default: float, sources: Sequence[str], where: str) -> np.ndarray:
    by_source = dict.fromkeys(sources, given) if not isinstance(given, Mapping) else {**given}
    for source, share in by_source.items():
        if source not in sources:
            raise ValueError(f"{where}.{source}: not a source of this filter{suggestion(source, sources)}")
        if not 0 <= share <= 1:
            raise ValueError(f"{where}: the share of {source} must be in [0, 1], got {share}")
    return np.array([by_source.get(source, default) for source in sources], dtype=np.float64)


def normalise_caption(text: str) -> str:
    """Letters and digits with their marks in lower case, other runs as one space: what makes two captions equal.

    Case and forms are folded as Unicode's NFKC_Casefold does it, what is not seen goes.

    >>> normalise_caption("Waving  Hand: light-skin tone!")
    'waving hand light skin tone'
    """
    if text.isascii():  # the most, and much faster
        return " ".join(ASCII_RUNS.findall(text.lower()))
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", seen(text)).casefold())
    return " ".join(alphanumeric_runs().findall(folded.replace(DOTTED_I, "i")))


def equal_captions(captions: pyarrow.Array) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of samples with an equal caption, enough to bind all of them.

    Args:
        captions: `list<string>` [N], normalised.

    Returns:
        Two int64 arrays of samples.
    """
    texts = captions.flatten()
    owners = np.repeat(
        np.arange(len(captions)), pyarrow.compute.list_value_length(captions).to_numpy(zero_copy_only=False)
    )
    codes = texts.dictionary_encode().indices.to_numpy(zero_copy_only=False)
    _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    return owners[first[inverse]], owners


def assign_splits(
    clusters: np.ndarray, sources: np.ndarray, shares: tuple[np.ndarray, np.ndarray], seed: int
) -> np.ndarray:
    """The split of each sample.

    Args:
        clusters: str [N], each sample's cluster as the key of its first member.
        sources: int64 [N], each sample's source.
        shares: From `SplitShares.of`. A cluster over several sources takes the greatest share of each: what is test in
            one source is test in all.
        seed: The pipeline's seed.

    Returns:
        int64 [N], positions in `SPLITS`.
    """
    names, members = np.unique(clusters, return_inverse=True)
    val, test = (np.zeros(len(names)), np.zeros(len(names)))
    np.maximum.at(val, members, shares[0][sources])
    np.maximum.at(test, members, shares[1][sources])
    draw = np.array([unit_interval(seed, "split", str(name)) for name in names])
    return np.select([draw < test, draw < test + val], [2, 1], 0)[members]
