"""95% intervals: cluster bootstrap of means and medians, delete-a-group jackknife of everything else.

Sources: Efron & Tibshirani 1993, An Introduction to the Bootstrap, ch. 8 (resampling whole clusters), 11 (jackknife)
and 13 (percentile interval); Kott 2001, The Delete-a-Group Jackknife, Journal of Official Statistics 17(4); Clopper &
Pearson 1934, The Use of Confidence or Fiducial Limits, Biometrika 26(4).

Which one when. The mean over images of a per-image value is resampled: the clusters are the images, and all captions of
one image go with it. A proportion of 0 or of 1 is not: all its resamples are equal, and an interval without width would
say that the next image cannot differ. It has the exact binomial interval instead. A distance between two sets of
features is not resampled either: a resample holds duplicates, which acts like a smaller set, and the Frechet distance
grows as sets shrink, so that the bootstrap interval of it lies above both the value and the truth. The jackknife leaves
groups out instead, and also yields the bias.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array
from scipy.special import stdtrit

from metrics.shared.estimates import Estimate

Floats = NDArray[np.float64]

QUANTILES = (0.025, 0.975)
BLOCK_ELEMENTS = 1_000_000  # of the largest temporary array


@dataclass(frozen=True, kw_only=True, slots=True)
class Resampling:
    """How often to resample, and from which seed.

    Attributes:
        num_resamples: Number of bootstrap resamples, at least 100.
        seed: Seed of the draws, at least 0.
    """

    num_resamples: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.num_resamples < 100:
            raise ValueError(f"num_resamples must be at least 100, got {self.num_resamples}")
        check_seed(self.seed)


@dataclass(frozen=True, kw_only=True, slots=True)
class Jackknife:
    """What a delete-a-group jackknife says about a functional of one or more samples.

    Attributes:
        value: The functional of everything; its bias is of the order of 1/n.
        unbiased: The value with the 1/n term of the bias removed.
        half_width: Of the 95% interval around either; Student's t with (number of groups - 1) degrees of freedom.
    """

    value: float
    unbiased: float
    half_width: float


def check_seed(seed: int) -> None:
    """Refuses a seed that numpy would refuse later, with a message less clear."""
    if seed < 0:
        raise ValueError(f"seed must be at least 0, got {seed}")


def resampled_means(values: ArrayLike, clusters: ArrayLike, resampling: Resampling) -> Floats:
    """Means of values over resamples of whole clusters.

    Args:
        values: Finite, [N] or [N, K].
        clusters: int [N], which cluster a row belongs to; any numbers, at least two different ones.
        resampling: Number of resamples and seed.

    Returns:
        float64 [num_resamples] or [num_resamples, K].

    Raises:
        ValueError: There is one cluster only, whose interval would have no width.
    """
    values = np.asarray(values, dtype=np.float64)
    assert np.isfinite(values).all(), "a bootstrap of means needs finite values"
    members = _cluster_indices(clusters)
    num_clusters = int(members.max()) + 1
    sums = np.zeros((num_clusters, values[0].size + 1))  # the last column counts rows
    np.add.at(sums, members, np.column_stack([values.reshape(len(values), -1), np.ones(len(values))]))
    totals = np.concatenate([*_over_draws(lambda drawn: _draw_matrix(drawn) @ sums, num_clusters, resampling)])
    return (totals[:, :-1] / totals[:, -1:]).reshape(-1, *values.shape[1:])


def resampled_medians(values: ArrayLike, clusters: ArrayLike, resampling: Resampling) -> Floats:
    """Medians (the mean of the two middle values, as numpy's) over resamples of whole clusters.

    Arguments as for `resampled_means`, values [N] only; returns float64 [num_resamples].
    """
    members = _cluster_indices(clusters)
    num_clusters = int(members.max()) + 1
    levels, level = np.unique(np.asarray(values, dtype=np.float64), return_inverse=True)
    ones = np.ones(len(members), dtype=np.int64)
    counts = csr_array((ones, (members, level)), shape=(num_clusters, len(levels)))
    medians = []
    for drawn in _draw_blocks(num_clusters, resampling, width=len(levels)):
        weights = np.stack([np.bincount(row, minlength=num_clusters) for row in drawn])
        seen = np.cumsum(weights @ counts, axis=1)
        total = seen[:, -1:]
        lower = np.argmax(seen >= (total + 1) // 2, axis=1)
        upper = np.argmax(seen >= total // 2 + 1, axis=1)
        medians.append((levels[lower] + levels[upper]) / 2)
    return np.concatenate(medians)


def bootstrap_estimate(value: float, resampled: Floats, *, n: int, higher_is_better: bool) -> Estimate:
    """A value with the percentile interval of its resamples."""
    low, high = np.quantile(resampled, QUANTILES)
    return Estimate(
        value=float(value),
        low=float(low),
        high=float(high),
        n=n,
        interval="bootstrap",
        higher_is_better=higher_is_better,
    )


def proportion_estimate(
    value: float, resampled: Floats, *, n: int, higher_is_better: bool, num_trials: int | None = None
) -> Estimate:
    """A mean of values in [0, 1], with an interval that has a width also where all of them are 0 or all are 1.

    There it is Clopper-Pearson's for no success, or no failure, of so many independent trials: for none of n the upper
    end is 1 - 0.025^(1/n), about 3.7/n (the one-sided "rule of three" has 3/n). The trials are the clusters: it bounds
    the share of clusters that hold another value, and so the mean.

    Args:
        value: The mean.
        resampled: Its resamples, float64 [num_resamples].
        n: Number of clusters, as published.
        higher_is_better: Direction of improvement.
        num_trials: Number of independent trials where it is not the number of clusters.
    """
    assert 0 <= value <= 1, f"a proportion must be in [0, 1], got {value}"
    if 0 < value < 1:
        return bootstrap_estimate(value, resampled, n=n, higher_is_better=higher_is_better)
    width = 1 - QUANTILES[0] ** (1 / (num_trials or n))
    return Estimate(
        value=float(value),
        low=0.0 if value == 0 else 1 - width,
        high=width if value == 0 else 1.0,
        n=n,
        interval="exact",
        higher_is_better=higher_is_better,
    )


def group_labels(num_rows: int, num_groups: int, seed: Sequence[int]) -> NDArray[np.int64]:
    """int64 [num_rows]: groups of equal size (to within one), dealt by a seeded permutation.

    Raises:
        ValueError: There are fewer than two rows per group.
    """
    if num_rows < 2 * num_groups:
        raise ValueError(f"num_groups must be at most half the number of samples ({num_rows}), got {num_groups}")
    return np.random.default_rng(seed).permutation(num_rows) % num_groups


def jackknife(value: float, leave_one_out: ArrayLike) -> Jackknife:
    """Bias and interval from the values of a functional with each of g groups left out.

    Args:
        value: The functional of everything.
        leave_one_out: [g] values; where the functional has several samples, group i was left out of all of them.
    """
    values = np.asarray(leave_one_out, dtype=np.float64)
    num_groups = len(values)
    spread = np.sqrt((num_groups - 1) / num_groups * np.square(values - values.mean()).sum())
    return Jackknife(
        value=value,
        unbiased=float(num_groups * value - (num_groups - 1) * values.mean()),
        half_width=float(stdtrit(num_groups - 1, QUANTILES[1]) * spread),
    )


def _cluster_indices(clusters: ArrayLike) -> NDArray[np.int64]:
    """Cluster numbers made 0, 1, 2 ... in their order."""
    names, members = np.unique(np.asarray(clusters), return_inverse=True)
    if len(names) < 2:
        raise ValueError(f"a 95% interval needs at least 2 test samples, got {len(names)}")
    return members.astype(np.int64)


def _over_draws(function: Callable[[NDArray[np.int32]], Floats], *draws: Any) -> Iterator[Floats]:
    """A function of each of `_draw_blocks`, while the next block is drawn."""
    with ThreadPoolExecutor(1) as pool:
        waiting = None
        for drawn in _draw_blocks(*draws):
            done, waiting = waiting, pool.submit(function, drawn)
            if done:
                yield done.result()
        assert waiting, "there are at least 100 resamples"
        yield waiting.result()


def _draw_blocks(num_clusters: int, resampling: Resampling, width: int = 1) -> Iterator[NDArray[np.int32]]:
    """The clusters drawn for each resample, int32 [block, num_clusters]: the same draws for any block size."""
    rng = np.random.default_rng(resampling.seed)
    block = max(1, BLOCK_ELEMENTS // max(width, num_clusters))
    for start in range(0, resampling.num_resamples, block):
        rows = min(block, resampling.num_resamples - start)
        yield rng.integers(num_clusters, size=(rows, num_clusters), dtype=np.int32)


def _draw_matrix(drawn: NDArray[np.int32]) -> csr_array:
    """[block, num_clusters] with as many ones in a row and column as the cluster was drawn for the resample."""
    starts = np.arange(0, drawn.size + 1, drawn.shape[1], dtype=np.int32)
    return csr_array((np.ones(drawn.size), drawn.reshape(-1), starts), shape=drawn.shape)
