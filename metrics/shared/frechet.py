"""Frechet distance between two sets of feature vectors, by their means and covariances.

Source: Dowson & Landau 1982, J. Multivariate Analysis 12; used on network features by Heusel et al. 2017,
arXiv:1706.08500, eq. 6:  |m1 - m2|^2 + Tr(C1 + C2 - 2 (C1 C2)^(1/2)).

Differs from the paper's code:
- No matrix square root, which is not unique for singular products and gives complex numbers by rounding. With
  C1 = L L', Tr (C1 C2)^(1/2) is the sum of the square roots of the eigenvalues of the symmetric L' C2 L.
- With fewer samples than dimensions the same trace is taken over the n x n matrix A C2 A', where A holds the n centred
  samples over sqrt(n - 1), because the nonzero eigenvalues are the same.
- Moments are float64 and mergeable (Chan, Golub & LeVeque 1979): a distance with some rows left out costs the moments
  of these rows alone.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from metrics.shared.bootstrap import Jackknife, group_labels, jackknife

BLOCK_ROWS = 256


@dataclass(frozen=True, slots=True)
class Moments:
    """Count, mean and scatter matrix of rows, float64.

    Attributes:
        count: Number of rows.
        mean: [D].
        scatter: [D, D], the sum of (x - mean)(x - mean)'.
    """

    count: int
    mean: Tensor
    scatter: Tensor

    @classmethod
    def of(cls, features: Tensor) -> Self:
        """Moments of rows [n, D] of any float type, a block at a time.

        Products are taken about the mean of the first block, which loses no digits when the mean is large.
        """
        width = features.shape[1]
        pivot = features[:BLOCK_ROWS].double().mean(0)
        total, scatter = torch.zeros_like(pivot), pivot.new_zeros(width, width)
        for block in features.split(BLOCK_ROWS):
            centred = block.double() - pivot
            total += centred.sum(0)
            scatter.addmm_(centred.T, centred)
        shift = total / len(features)
        return cls(len(features), pivot + shift, scatter.addr_(shift, shift, alpha=-len(features)))

    @property
    def covariance(self) -> Tensor:
        """Unbiased covariance [D, D]."""
        return self.scatter / (self.count - 1)

    def merged(self, other: Self) -> Self:
        """Moments of the rows of both."""
        count = self.count + other.count
        delta = other.mean - self.mean
        scatter = torch.addr(self.scatter + other.scatter, delta, delta, alpha=self.count * other.count / count)
        return type(self)(count, self.mean + delta * (other.count / count), scatter)

    def without(self, other: Self) -> Self:
        """Moments after the rows of `other` are taken away again: a merge with a negative count."""
        return self.merged(type(self)(-other.count, other.mean, -other.scatter))


@dataclass(frozen=True, slots=True)
class FeatureSet:
    """Features with their moments.

    Attributes:
        features: [n, D], any float type.
        moments: Of these rows.
    """

    features: Tensor
    moments: Moments

    @classmethod
    def of(cls, features: Tensor) -> Self:
        """The set of rows [n, D]."""
        return cls(features, Moments.of(features))

    def without(self, rows: Tensor) -> Self:
        """The set without the rows that the bool mask [n] names."""
        return type(self)(self.features[~rows], self.moments.without(Moments.of(self.features[rows])))


def frechet_distance(one: FeatureSet, other: FeatureSet) -> float:
    """The distance (the square of a metric), at least 0 up to rounding.

    Args:
        one: Features [n, D], n at least 2.
        other: Features [m, D], m at least 2.
    """
    assert one.features.shape[1] == other.features.shape[1], "features of different detectors"
    small, large = sorted((one, other), key=lambda features: features.moments.count)
    first, second = small.moments.covariance, large.moments.covariance
    if small.moments.count <= len(first):
        factor = (small.features.double() - small.moments.mean).T / (small.moments.count - 1) ** 0.5
    else:
        factor = _factor(first)
    cross = torch.linalg.eigvalsh(factor.T @ second @ factor).clamp(min=0).sqrt().sum()
    shift = (small.moments.mean - large.moments.mean).square().sum()
    return float(shift + first.trace() + second.trace() - 2 * cross)


def frechet_jackknife(reference: Tensor, generated: Tensor, num_groups: int, seed: int) -> tuple[Jackknife, np.ndarray]:
    """The distance with its bias and interval.

    Args:
        reference: Features [n, D].
        generated: Features [m, D].
        num_groups: Number of groups; group i is left out of both sets at once.
        seed: Seed of the permutations that deal the groups.

    Returns:
        The jackknife, and the distances with each group left out, float64 [num_groups].

    Raises:
        ValueError: A set has fewer than two rows per group.
    """
    sets = [FeatureSet.of(reference), FeatureSet.of(generated)]
    labels = [
        torch.from_numpy(group_labels(len(rows), num_groups, (seed, index))).to(rows.device)
        for index, rows in enumerate((reference, generated))
    ]
    left_out = np.array(
        [
            frechet_distance(*(each.without(label == group) for each, label in zip(sets, labels, strict=True)))
            for group in range(num_groups)
        ]
    )
    return jackknife(frechet_distance(*sets), left_out), left_out


def random_projection(width: int, num_dims: int, seed: int) -> Tensor:
    """Orthonormal columns, uniform over the subspaces, float64 [width, num_dims]."""
    normal = np.random.default_rng(seed).standard_normal((width, num_dims))
    return torch.from_numpy(np.linalg.qr(normal).Q)


def _factor(covariance: Tensor) -> Tensor:
    """L with L L' = covariance: Cholesky's, or by eigenvectors where features that never vary make it singular."""
    lower, failed = torch.linalg.cholesky_ex(covariance)
    if not int(failed):
        return lower
    values, vectors = torch.linalg.eigh(covariance)
    return vectors * values.clamp(min=0).sqrt()
