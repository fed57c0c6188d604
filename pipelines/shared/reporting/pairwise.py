"""All pairs of many models compared at once: what `PairedMeans` says of each pair, at the price of the models.

A resample, and a flip of signs, is linear in the values. So all models are resampled and flipped together, by the draws
that `PairedMeans` makes for one pair, and subtracted afterwards: 50 models are 1,225 pairs, but 50 columns of values.

Source: Hoeffding 1963, Journal of the American Statistical Association 58(301), theorem 2 (a sum of values of random
signs reaches t, on either side, with a probability of at most 2 exp(-t^2 / 2 sum of squares)).

Differs from `PairedMeans`: 9,999 flips give no p-value below 1/10,000, which a correction for 1,225 pairs never lets
pass. Where Hoeffding's bound on the exact p-value is lower than that, the bound is taken; it errs to the safe side.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from metrics.shared.bootstrap import Resampling, resampled_means
from metrics.shared.paired import LEVEL, NUM_FLIPS, POWER, sign_flips

Floats = NDArray[np.float64]
DETECTABLE = float(ndtri(1 - LEVEL / 2) + ndtri(POWER))  # in standard errors, as `Paired.smallest_detectable`
ROUNDING = 1e-12


@dataclass(frozen=True, kw_only=True)
class Means:
    """One score of several models on the same units.

    Attributes:
        values: Per unit and model, [N, M].
        owner: The sample that each unit belongs to, int64 [N].
    """

    values: Floats
    owner: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class AllPairs:
    """The pairs of M models in the order of `itertools.combinations`, P = M (M - 1) / 2 of them.

    Attributes:
        p_values: Two-sided, of "there is no difference", [P].
        smallest_detectable: What a test of the pair at 5% would find with a probability of 80%, [P].
    """

    p_values: Floats
    smallest_detectable: Floats


def compare_all(columns: Sequence[Means], resampling: Resampling) -> list[AllPairs]:
    """All pairs of models, column by column.

    Args:
        columns: Their numbers of models may differ.
        resampling: Number of bootstrap resamples, and the seed of these and of the flips.
    """
    results: dict[int, AllPairs] = {}
    for places in _by_owner(columns):
        together = np.concatenate([columns[place].values for place in places], axis=1, dtype=np.float64)
        owner = columns[places[0]].owner
        edges = np.cumsum([columns[place].values.shape[1] for place in places])[:-1]
        members = np.unique(owner, return_inverse=True)[1]
        sums = np.zeros((members.max() + 1, together.shape[1]))
        np.add.at(sums, members, together)
        p_values = _p_values(np.split(sums, edges, axis=1), resampling.seed)
        resampled = np.split(resampled_means(together, owner, resampling), edges, axis=1)
        for place, p, means in zip(places, p_values, resampled, strict=True):
            errors = np.concatenate([part.std(axis=1) for _, part in _differences(means)])
            results[place] = AllPairs(p_values=p, smallest_detectable=DETECTABLE * errors)
    return [results[place] for place in range(len(columns))]


def _by_owner(columns: Sequence[Means]) -> list[list[int]]:
    """Places of the columns whose units belong to the same samples, which share their draws."""
    groups: dict[bytes, list[int]] = {}
    for place, column in enumerate(columns):
        assert column.values.ndim == 2 and column.owner.shape == column.values.shape[:1], "values must be [N, M]"
        assert column.values.shape[1] > 1, "one model has no pairs"
        groups.setdefault(column.owner.tobytes(), []).append(place)
    return [*groups.values()]


def _p_values(columns: Sequence[Floats], seed: int) -> list[Floats]:
    """Of sums per sample and model, [n, M] each; [P] each."""
    centred = [sums - sums.mean(axis=1, keepdims=True) for sums in columns]  # equal differences, less rounding
    observed = [np.concatenate([np.abs(part.sum(axis=1)) for _, part in _differences(sums)]) for sums in centred]
    least = [
        totals - 2 * ROUNDING * np.abs(sums).sum(axis=0).max() for totals, sums in zip(observed, centred, strict=True)
    ]
    reached = [np.ones(len(totals)) for totals in observed]
    edges = np.cumsum([sums.shape[1] for sums in centred])[:-1]
    together = np.concatenate(centred, axis=1)
    for signs in sign_flips(len(together), seed):
        for place, flipped in enumerate(np.split(signs @ together, edges, axis=1)):
            for pairs, part in _differences(flipped):
                reached[place][pairs] += np.count_nonzero(np.abs(part) >= least[place][pairs, None], axis=1)
    return [
        _sharpened(count / (NUM_FLIPS + 1), totals, sums)
        for count, totals, sums in zip(reached, observed, columns, strict=True)
    ]


def _sharpened(p_values: Floats, observed: Floats, sums: Floats) -> Floats:
    """Hoeffding's bound where it is below what the flips can resolve."""
    squares = np.concatenate([np.square(part).sum(axis=1) for _, part in _differences(sums)])
    bound = np.ones(len(squares))
    np.divide(-np.square(observed), 2 * squares, out=bound, where=squares > 0)
    bound = 2 * np.exp(bound)
    return np.where(bound < 1 / (NUM_FLIPS + 1), bound, p_values)


def _differences(columns: Floats) -> Iterator[tuple[slice, Floats]]:
    """For each model the places of its pairs with all later ones, and their values less its own; [K, M] -> [., K]."""
    rows = np.ascontiguousarray(columns.T)
    start = 0
    for first in range(len(rows) - 1):
        end = start + len(rows) - 1 - first
        yield slice(start, end), rows[first + 1 :] - rows[first]
        start = end
