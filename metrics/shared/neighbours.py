"""Nearest neighbours by exact distances, a block at a time; also with each group of points left out.

Source: Kynkaanniemi et al. 2019, arXiv:1904.06991 (a point's ball reaches to its k-th nearest neighbour).

Distances are Euclidean, squared, and float64, from dot products. A point is never its own neighbour: its entry is taken
out by its index, because rounding does not give it the distance 0. Distances that differ by less than `Points.tie` are
equal, so that copies are as near as what they copy, whatever the block that they are computed in.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from metrics.shared.bootstrap import group_labels

BLOCK_DISTANCES = 2_000_000  # of those held at once
TIE = 1e-12  # of the largest squared length


@dataclass(frozen=True, slots=True)
class Points:
    """Sets of rows in one frame.

    Attributes:
        sets: float64 [n, d] each, about the mean of the first set: short vectors have small rounding errors.
        tie: Squared distances that differ by less are equal.
    """

    sets: tuple[Tensor, ...]
    tie: float

    @classmethod
    def of(cls, *sets: Tensor) -> Self:
        """Points of rows [n, d] of any float type."""
        centre = sets[0].double().mean(0)
        centred = tuple(rows.double() - centre for rows in sets)
        longest = max(float(torch.linalg.vecdot(rows, rows).max()) for rows in centred)
        return cls(centred, TIE * longest)


def distance_blocks(queries: Tensor, points: Tensor, own: Tensor | None = None) -> Iterator[tuple[slice, Tensor]]:
    """Squared distances of some queries to all points.

    Args:
        queries: float64 [m, d].
        points: float64 [n, d].
        own: Where the queries are points themselves: the index of each, int64 [m]. Its entry becomes infinite.

    Yields:
        Which queries, and their squared distances, float64 [block, n], at least 0.
    """
    lengths = torch.linalg.vecdot(points, points)
    size = max(1, BLOCK_DISTANCES // len(points))
    for start in range(0, len(queries), size):
        block = queries[start : start + size]
        squared = torch.addmm(lengths, block, points.T, alpha=-2)
        squared += torch.linalg.vecdot(block, block)[:, None]
        squared.clamp_(min=0)
        place = slice(start, start + len(block))
        if own is not None:
            squared.scatter_(1, own[place, None], torch.inf)
        yield place, squared


def nearest(queries: Tensor, points: Tensor, tie: float, own: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Squared distance to the nearest point, float64 [m], and its index, int64 [m]: the first of those tied.

    Arguments as for `distance_blocks`, and `Points.tie`.
    """
    distances, indices = [], []
    for _, squared in distance_blocks(queries, points, own):
        least = squared.amin(1)
        distances.append(least)
        indices.append((squared <= least[:, None] + tie).to(torch.uint8).argmax(1))
    return torch.cat(distances), torch.cat(indices)


@dataclass(frozen=True, slots=True)
class GroupedPoints:
    """Points of one set, group after group.

    Attributes:
        rows: float64 [n, d].
        sizes: How many there are of each of the g groups.
        kept: bool [g + 1, n]: row i tells who is left without group i, the last row has everyone.
    """

    rows: Tensor
    sizes: tuple[int, ...]
    kept: Tensor

    @classmethod
    def of(cls, rows: Tensor, num_groups: int, seed: tuple[int, int]) -> Self:
        """Deals rows [n, d] into groups.

        Raises:
            ValueError: There are fewer than two rows per group.
        """
        labels = torch.from_numpy(group_labels(len(rows), num_groups, seed)).to(rows.device)
        ordered, order = torch.sort(labels, stable=True)
        kept = ordered != torch.arange(num_groups + 1, device=rows.device)[:, None]
        return cls(rows[order], tuple(torch.bincount(labels).tolist()), kept)


def radii(points: GroupedPoints, ranks: tuple[int, ...]) -> tuple[Tensor, ...]:
    """Squared distances to the k-th nearest neighbour, with each group left out and of everything.

    Args:
        points: Any g - 1 of its groups must hold more than the largest k.
        ranks: The values of k.

    Returns:
        For each k float64 [g + 1, n]: row i without group i, the last row of everything. A point of the group that is
        left out has no ball: its radius is -infinity.
    """
    deepest = max(ranks)
    blocks = []
    for _, squared in distance_blocks(points.rows, points.rows, torch.arange(len(points.rows)).to(points.rows.device)):
        by_group = [
            torch.topk(columns, min(deepest, columns.shape[1]), largest=False).values
            for columns in squared.split(points.sizes, dim=1)
        ]
        left = [torch.cat(by_group[:group] + by_group[group + 1 :], dim=1) for group in range(len(by_group) + 1)]
        blocks.append(torch.stack([torch.topk(each, deepest, largest=False).values for each in left]))
    ordered = torch.cat(blocks, dim=1).masked_fill(~points.kept[:, :, None], -torch.inf)
    return tuple(ordered[:, :, rank - 1].contiguous() for rank in ranks)
