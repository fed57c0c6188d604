"""Frechet distance between two sets of feature vectors, by their means and covariances.

Source: Dowson & Landau 1982, J. Multivariate Analysis 12; used on network features by Heusel et al. 2017,
arXiv:1706.08500, eq. 6:  |m1 - m2|^2 + Tr(C1 + C2 - 2 (C1 C2)^(1/2)). Extrapolation to sets without end: Chong &
Forsyth 2020, arXiv:1911.07023, section 3.

Differs from the papers' codes:
- No matrix square root, which is not unique for singular products and gives complex numbers by rounding. With
  C1 = L L', Tr (C1 C2)^(1/2) is the sum of the square roots of the eigenvalues of the symmetric L' C2 L.
- With no more samples than dimensions the same trace is taken over the n x n matrix A C2 A', where A holds the n
  centred samples over sqrt(n - 1), because the nonzero eigenvalues are the same; if both sets are so small, no
  covariance is made at all.
- Moments are float64 and mergeable (Chan, Golub & LeVeque 1979): a distance with some rows left out costs the moments
  of these rows alone.
- Extrapolated are both sets, since a test set is as small as what is generated, from a quarter of the rows on, not from
  a tenth, where the bias of a small set is no longer a straight line in 1/n.
"""

import functools
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import stdtrit
from torch import Tensor

from metrics.shared.bootstrap import QUANTILES, Jackknife, group_labels, jackknife

BLOCK_ROWS = 256
NUM_SIZES = 15
LEAST_SHARE = 0.25


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


class FeatureSet:
    """Rows of features, and what the distance needs to know of them.

    Attributes:
        features: [n, D], any float type.
    """

    def __init__(self, features: Tensor, moments: Moments | None = None) -> None:
        """Takes moments where they are known; otherwise they are computed where they are needed."""
        self.features = features
        self._moments = moments

    def __len__(self) -> int:
        return len(self.features)

    @property
    def is_small(self) -> bool:
        """Whether there are no more rows than dimensions."""
        return len(self) <= self.features.shape[1]

    @functools.cached_property
    def moments(self) -> Moments:
        """Moments of the rows."""
        return self._moments or Moments.of(self.features)

    @functools.cached_property
    def mean(self) -> Tensor:
        """Mean row, float64 [D]."""
        return self.features.double().mean(0) if self.is_small else self.moments.mean

    @functools.cached_property
    def centred(self) -> Tensor:
        """A with A' A = covariance: rows less their mean, over sqrt(n - 1), float64 [n, D]."""
        return (self.features.double() - self.mean) / (len(self) - 1) ** 0.5

    @functools.cached_property
    def total_variance(self) -> Tensor:
        """Trace of the covariance."""
        return self.centred.square().sum() if self.is_small else self.moments.scatter.trace() / (len(self) - 1)

    def without(self, rows: Tensor) -> "FeatureSet":
        """The set without the rows that the bool mask [n] names."""
        kept = FeatureSet(self.features[~rows])
        if not kept.is_small:
            kept._moments = self.moments.without(Moments.of(self.features[rows]))
        return kept


@dataclass(frozen=True, slots=True)
class Extrapolated:
    """The distance that sets without end would have.

    Attributes:
        value: Where the fitted line in 1/n meets 0.
        standard_error: Of this intercept, from the residuals of the line: what another draw of subsets would change.
    """

    value: float
    standard_error: float

    def half_width(self, result: Jackknife) -> float:
        """Of the 95% interval: the line's own, and the jackknife's for the choice of rows, in quadrature."""
        return float(np.hypot(stdtrit(NUM_SIZES - 2, QUANTILES[1]) * self.standard_error, result.half_width))


def frechet_distance(one: FeatureSet, other: FeatureSet) -> float:
    """The distance (the square of a metric), at least 0 up to rounding.

    Args:
        one: Features [n, D], n at least 2.
        other: Features [m, D], m at least 2.
    """
    assert one.features.shape[1] == other.features.shape[1], "features of different detectors"
    shift = (one.mean - other.mean).square().sum()
    return float(shift + one.total_variance + other.total_variance - 2 * _cross_trace(one, other))


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
    sets = [FeatureSet(reference), FeatureSet(generated)]
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


def frechet_infinity(reference: Tensor, generated: Tensor, seed: int) -> Extrapolated:
    """The distance extrapolated in 1/n, from 15 random parts of both sets, a quarter of the rows to all of them.

    Args:
        reference: Features [n, D], n at least 8.
        generated: Features [m, D], m at least 8.
        seed: Of the parts, which are drawn without replacement and independently of each other.
    """
    rng = np.random.default_rng((seed, NUM_SIZES))
    sets, inverse, distances = (reference, generated), [], []
    for share in np.linspace(LEAST_SHARE, 1, NUM_SIZES):
        places = [rng.permutation(len(rows))[: round(share * len(rows))] for rows in sets]
        parts = [rows[torch.from_numpy(part).to(rows.device)] for rows, part in zip(sets, places, strict=True)]
        inverse.append(sum(len(rows) / len(part) for rows, part in zip(sets, parts, strict=True)) / 2)
        distances.append(frechet_distance(*map(FeatureSet, parts)))
    return _intercept(np.array(inverse), np.array(distances))


def random_projection(width: int, num_dims: int, seed: int) -> Tensor:
    """Orthonormal columns, uniform over the subspaces, float64 [width, num_dims]."""
    normal = np.random.default_rng(seed).standard_normal((width, num_dims))
    return torch.from_numpy(np.linalg.qr(normal).Q)


def _intercept(inverse: NDArray[np.float64], distances: NDArray[np.float64]) -> Extrapolated:
    """Ordinary least squares: the value of the line at 0."""
    design = np.stack([np.ones_like(inverse), inverse], axis=1)
    line, (squares,), *_ = np.linalg.lstsq(design, distances)
    variance = squares / (len(inverse) - 2) * np.linalg.inv(design.T @ design)[0, 0]
    return Extrapolated(float(line[0]), float(np.sqrt(variance)))


def _cross_trace(one: FeatureSet, other: FeatureSet) -> Tensor:
    """Tr (C1 C2)^(1/2), from the smallest symmetric matrix with the eigenvalues of C1 C2."""
    small, large = sorted((one, other), key=len)
    if large.is_small:
        product = small.centred @ large.centred.T
        matrix = product @ product.T
    elif small.is_small:
        matrix = small.centred @ large.moments.covariance @ small.centred.T
    else:
        matrix = _congruent(small.moments.covariance, large.moments.covariance)
    return torch.linalg.eigvalsh(matrix).clamp(min=0).sqrt().sum()


def _congruent(first: Tensor, second: Tensor) -> Tensor:
    """L' M L, where L L' is the first covariance and M the second, [D, D]; only its lower triangle is right.

    L is Cholesky's, and the product goes by blocks that are not zero, which is a quarter of the work of two products of
    whole matrices. Where features that never vary leave no such factor, L is made of eigenvectors.
    """
    lower, failed = torch.linalg.cholesky_ex(first)
    if int(failed):
        values, vectors = torch.linalg.eigh(first)
        factor = vectors * values.clamp(min=0).sqrt()
        return factor.T @ second @ factor
    result = torch.zeros_like(second)
    starts = range(0, len(second), BLOCK_ROWS)
    for left in starts:
        columns = slice(left, left + BLOCK_ROWS)
        half = second[left:, left:] @ lower[left:, columns]
        for top in starts[left // BLOCK_ROWS :]:
            rows = slice(top, top + BLOCK_ROWS)
            result[rows, columns] = lower[top:, rows].T @ half[top - left :]
    return result
