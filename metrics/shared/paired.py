"""Two models on the same samples: the difference of a score, its interval, its p-value, and what could be detected.

Sources: Efron & Tibshirani 1993, An Introduction to the Bootstrap, ch. 8, 13 and 15; Kott 2001, Journal of Official
Statistics 17(4) (delete-a-group jackknife); Holm 1979, Scandinavian Journal of Statistics 6; Cohen 1988, Statistical
Power Analysis (smallest detectable difference).

A score that is a mean of values per unit is compared unit by unit: the interval resamples whole samples, the p-value is
that of a sign-flip test over samples, which is exact where the difference is symmetric about the null. A distance is
compared group by group: its values with each group of samples left out, of both models, are subtracted.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtr, stdtrit

from metrics.shared.bootstrap import QUANTILES, Resampling, resampled_means

Floats = NDArray[np.float64]
NUM_FLIPS = 9999
BLOCK_ELEMENTS = 4_000_000
POWER = 0.8
LEVEL = 0.05


class Paired(ABC):
    """The difference of a score of two models, second minus first.

    Attributes:
        value: The difference.
        low: Lower end of its 95% interval.
        high: Upper end.
        standard_error: Of the difference.
        n: Number of independent units.
    """

    value: float
    low: float
    high: float
    standard_error: float
    n: int

    @abstractmethod
    def p_value(self) -> float:
        """Two-sided p-value of "there is no difference"."""

    @abstractmethod
    def p_above(self, margin: float) -> float:
        """One-sided p-value of "the difference is at most `margin`": small where it is shown to be more."""

    def smallest_detectable(self) -> float:
        """The difference that a two-sided test at 5% would find with a probability of 80%."""
        return float((ndtri(1 - LEVEL / 2) + ndtri(POWER)) * self.standard_error)

    def samples_needed(self, distance: float) -> int | None:
        """Units with which a difference this far from its null would be found with a probability of 80%.

        Args:
            distance: Of the difference from the value that it is tested against; its sign does not matter.

        Returns:
            None where no number of samples would do: the distance is 0.
        """
        if not distance:
            return None
        return math.ceil(self.n * (self.smallest_detectable() / distance) ** 2)


class PairedMeans(Paired):
    """Of a score that is the mean of values per unit."""

    def __init__(self, first: Floats, second: Floats, owner: NDArray[np.int64], resampling: Resampling) -> None:
        """Compares values of the same units in the same order.

        Args:
            first: Values of the first model, [N].
            second: Values of the second, [N].
            owner: The sample that each value belongs to, [N].
            resampling: Number of resamples of the interval, and the seed of these and of the sign flips.

        Raises:
            ValueError: There is one sample only.
        """
        assert first.shape == second.shape == owner.shape, f"{first.shape}, {second.shape} and {owner.shape} differ"
        difference = np.subtract(second, first, dtype=np.float64)
        resampled = resampled_means(difference, owner, resampling)
        members = np.unique(owner, return_inverse=True)[1]
        self._sums = np.bincount(members, weights=difference).astype(np.float64)
        self._counts: Floats = np.bincount(members).astype(np.float64)
        self._seed = resampling.seed
        self.value = float(difference.mean())
        self.low, self.high = (float(end) for end in np.quantile(resampled, QUANTILES))
        self.standard_error = float(resampled.std())
        self.n = len(self._sums)

    def p_value(self) -> float:
        """Sign-flip test over samples, 9,999 flips."""
        return self._share(self._sums, two_sided=True)

    def p_above(self, margin: float) -> float:
        """Sign-flip test of the difference less the margin."""
        return self._share(self._sums - margin * self._counts, two_sided=False)

    def _share(self, sums: Floats, *, two_sided: bool) -> float:
        observed = abs(sums.sum()) if two_sided else sums.sum()
        rounding = 1e-12 * np.abs(sums).sum()
        reached = 1
        for signs in sign_flips(self.n, self._seed):
            flipped = signs @ sums
            reached += int(np.count_nonzero((np.abs(flipped) if two_sided else flipped) >= observed - rounding))
        return reached / (NUM_FLIPS + 1)


class PairedJackknife(Paired):
    """Of a score with a delete-a-group jackknife."""

    def __init__(self, first: tuple[float, Floats], second: tuple[float, Floats], n: int) -> None:
        """Compares two scores whose groups were dealt by the same seed over the same samples.

        Args:
            first: Value of the first model, and its values with each group left out, [g].
            second: The same of the second.
            n: Number of samples of each.
        """
        (first_value, first_left), (second_value, second_left) = first, second
        assert first_left.shape == second_left.shape, "jackknives of different numbers of groups"
        left_out = second_left - first_left
        num_groups = len(left_out)
        self._freedom = num_groups - 1
        self.value = second_value - first_value
        self.standard_error = float(np.sqrt(self._freedom / num_groups * np.square(left_out - left_out.mean()).sum()))
        half_width = float(stdtrit(self._freedom, QUANTILES[1])) * self.standard_error
        self.low, self.high = self.value - half_width, self.value + half_width
        self.n = n

    def p_value(self) -> float:
        """Student's t with (number of groups - 1) degrees of freedom."""
        return 2 * self._tail(abs(self.value))

    def p_above(self, margin: float) -> float:
        """The same, one-sided."""
        return self._tail(self.value - margin)

    def _tail(self, distance: float) -> float:
        if not self.standard_error:
            return 0.5 if not distance else float(distance < 0)
        return float(stdtr(self._freedom, -distance / self.standard_error))


def sign_flips(num_samples: int, seed: int) -> Iterator[Floats]:
    """9,999 rows of +1 and -1 in blocks, [block, num_samples]; the same for any block size."""
    rng = np.random.default_rng((seed, 1))
    block = max(1, BLOCK_ELEMENTS // num_samples)
    for start in range(0, NUM_FLIPS, block):
        yield np.float64(2) * rng.integers(2, size=(min(block, NUM_FLIPS - start), num_samples)) - 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a model stands among those that it was compared with.

    Attributes:
        best: The best rank that the comparisons leave open, from 1.
        worst: The worst.
        group: Number of its tie group, from 1: models that are not shown to differ from the best of the group.
    """

    best: int
    worst: int
    group: int


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted for how many there are, in their order (Holm 1979): significant where at most the level."""
    order = np.argsort(p_values, kind="stable")
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for place, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def places(ordered: Sequence[str], differ: set[frozenset[str]]) -> dict[str, Place]:
    """Rank intervals and tie groups.

    Args:
        ordered: Names, the best value first.
        differ: Pairs that are shown to differ.
    """
    result: dict[str, Place] = {}
    leader, group = "", 0
    for rank, name in enumerate(ordered):
        if not leader or frozenset((leader, name)) in differ:
            leader, group = name, group + 1
        better = sum(frozenset((name, other)) in differ for other in ordered[:rank])
        worse = sum(frozenset((name, other)) in differ for other in ordered[rank + 1 :])
        result[name] = Place(best=1 + better, worst=len(ordered) - worse, group=group)
    return result
