"""Maximum mean discrepancy (MMD) of two sets of rows, from sums of a kernel over pairs of groups.

Source: Gretton et al. 2012, A Kernel Two-Sample Test, JMLR 13, eq. 3 (unbiased estimate of MMD^2, a U-statistic) and
eq. 5 (biased, a V-statistic).

Differs from the paper:
- All pairs are used, a block of dot products at a time: memory beyond the rows is one block, whatever their number.
- Each set is divided into groups, and sums are kept by pairs of groups. The estimates with one group left out of both
  sets, which the jackknife needs, are then sums of a few numbers.
- The sets may be of different size: pairs within a set are then weighted by its own size.

Sums are float64, and so are the rows of a block. The kernel's values are all near each other, and the distance is a
small difference of their means; float32 products would also change with the precision that a program sets for them
globally.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metrics.shared.bootstrap import group_labels

Floats = NDArray[np.float64]
Kept = NDArray[np.bool_]  # which groups, [g]
Kernel = Callable[[Tensor], Tensor]
BLOCK_ROWS = 1024


@dataclass(frozen=True, slots=True)
class GroupedRows:
    """Rows that are dealt into groups.

    Attributes:
        rows: [n, d] of any float type.
        member: float64 [n, g], 1 where a row is in a group, else 0.
    """

    rows: Tensor
    member: Tensor

    @classmethod
    def of(cls, rows: Tensor, num_groups: int, seed: tuple[int, int]) -> Self:
        """Deals rows [n, d] of any float type.

        Raises:
            ValueError: There are fewer than two rows per group.
        """
        labels = torch.from_numpy(group_labels(len(rows), num_groups, seed)).to(rows.device)
        return cls(rows, torch.nn.functional.one_hot(labels, num_groups).double())

    def blocks(self, block_rows: int, first: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Rows in float64 with their membership, at most `block_rows` at a time, from the row `first` on."""
        for start in range(first, len(self.rows), block_rows):
            part = slice(start, start + block_rows)
            yield self.rows[part].double(), self.member[part]


@dataclass(frozen=True, slots=True)
class WithinSums:
    """Sums of a kernel over the pairs of one set, by groups.

    Attributes:
        counts: Rows of each group, [g].
        different: Sums over ordered pairs of two different rows, [g, g].
        same: Sums of each row with itself, [g].
    """

    counts: Floats
    different: Floats
    same: Floats

    @classmethod
    def of(cls, grouped: GroupedRows, kernel: Kernel, block_rows: int) -> Self:
        """Evaluates the kernel once for each unordered pair."""
        num_groups = grouped.member.shape[1]
        diagonal, upper = (grouped.member.new_zeros(num_groups, num_groups) for _ in range(2))
        same = grouped.member.new_zeros(num_groups)
        for place, (rows, member) in enumerate(grouped.blocks(block_rows)):
            same += member.T @ kernel(torch.linalg.vecdot(rows, rows))
            diagonal += member.T @ (kernel(rows @ rows.T).fill_diagonal_(0) @ member)
            for others, other_member in grouped.blocks(block_rows, (place + 1) * block_rows):
                upper += member.T @ (kernel(rows @ others.T) @ other_member)
        return cls(*(_numpy(each) for each in (grouped.member.sum(0), diagonal + upper + upper.T, same)))

    def unbiased_mean(self, kept: Kept) -> float:
        """Mean over pairs of different rows of the kept groups."""
        count = self.counts[kept].sum()
        return float(self.different[np.ix_(kept, kept)].sum() / (count * (count - 1)))

    def biased_mean(self, kept: Kept) -> float:
        """Mean over all pairs of rows of the kept groups, a row with itself included."""
        total = self.different[np.ix_(kept, kept)].sum() + self.same[kept].sum()
        return float(total / self.counts[kept].sum() ** 2)


@dataclass(frozen=True, slots=True)
class MmdSums:
    """All sums that MMD^2 of two sets is made of.

    Attributes:
        one: Within the first set.
        other: Within the second set.
        between: Sums over pairs of a row of the first and one of the second, [g, g].
    """

    one: WithinSums
    other: WithinSums
    between: Floats

    def unbiased(self) -> tuple[float, Floats]:
        """The unbiased estimate of MMD^2, and with each group left out of both sets, [g].

        It is often negative where the two distributions are one.
        """
        return self._evaluated(WithinSums.unbiased_mean)

    def biased(self) -> tuple[float, Floats]:
        """The same of the biased estimate, which is at least 0 up to rounding, and above MMD^2 on average."""
        return self._evaluated(WithinSums.biased_mean)

    def _evaluated(self, within: Callable[[WithinSums, Kept], float]) -> tuple[float, Floats]:
        num_groups = len(self.between)
        values = [
            within(self.one, kept) + within(self.other, kept) - 2 * self._between_mean(kept)
            for kept in (np.arange(num_groups) != left_out for left_out in range(-1, num_groups))
        ]
        return values[0], np.array(values[1:])

    def _between_mean(self, kept: Kept) -> float:
        num_pairs = self.one.counts[kept].sum() * self.other.counts[kept].sum()
        return float(self.between[np.ix_(kept, kept)].sum() / num_pairs)


def mmd_sums(
    one: Tensor, other: Tensor, kernel: Kernel, num_groups: int, seed: int, block_rows: int = BLOCK_ROWS
) -> MmdSums:
    """Sums of a kernel over all pairs of rows.

    Args:
        one: First set, [n, d] of any float type.
        other: Second set, [m, d].
        kernel: From dot products (any shape, may be overwritten) to values of the kernel, element by element.
        num_groups: Groups that either set is dealt into.
        seed: Of the dealing.
        block_rows: Rows of a block; the result depends on it by rounding only.

    Raises:
        ValueError: A set has fewer than two rows per group.
    """
    first, second = (GroupedRows.of(rows, num_groups, (seed, index)) for index, rows in enumerate((one, other)))
    between = first.member.new_zeros(num_groups, num_groups)
    for rows, member in first.blocks(block_rows):
        for others, other_member in second.blocks(block_rows):
            between += member.T @ (kernel(rows @ others.T) @ other_member)
    within_first, within_second = (WithinSums.of(each, kernel, block_rows) for each in (first, second))
    return MmdSums(within_first, within_second, _numpy(between))


def _numpy(sums: Tensor) -> Floats:
    return sums.cpu().numpy()
