"""All pairs at once say what each pair says alone."""

import itertools

import numpy as np
import pytest

from metrics.shared.bootstrap import Resampling
from metrics.shared.paired import NUM_FLIPS, PairedMeans, holm
from pipelines.shared.reporting.pairwise import Means, compare_all

RESAMPLING = Resampling(num_resamples=200, seed=7)


def hits(rng: np.random.Generator, num_samples: int, num_models: int) -> Means:
    """Captions found or not, two for every third sample."""
    owner = np.sort(np.concatenate([np.arange(num_samples), np.arange(0, num_samples, 3)]))
    chance = rng.uniform(0.3, 0.6, size=num_models)
    return Means(values=(rng.random((len(owner), num_models)) < chance).astype(np.float64), owner=owner)


def measures(rng: np.random.Generator, num_samples: int, num_models: int) -> Means:
    """Values that resemble each other over models, two models alike but for three samples, two wholly alike."""
    values = rng.normal(50, 10, size=(num_samples, 1)) + rng.normal(0, 2, size=(num_samples, num_models))
    values[:, 1] = values[:, 0]
    values[:3, 1] += (1.0, 2.0, 3.0)
    values[:, 3] = values[:, 2]
    return Means(values=values, owner=np.arange(num_samples))


def test_equal_to_pair_by_pair() -> None:
    rng = np.random.default_rng(0)
    columns = [hits(rng, 60, 4), measures(rng, 60, 5), measures(rng, 45, 4)]
    for column, found in zip(columns, compare_all(columns, RESAMPLING), strict=True):
        pairs = [*itertools.combinations(range(column.values.shape[1]), 2)]
        alone = [PairedMeans(*column.values.T[list(pair)], column.owner, RESAMPLING) for pair in pairs]
        assert found.p_values == pytest.approx([pair.p_value() for pair in alone], abs=1e-15)
        expected = [pair.smallest_detectable() for pair in alone]
        assert found.smallest_detectable == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_models_that_are_alike_do_not_differ() -> None:
    (found,) = compare_all([measures(np.random.default_rng(1), 30, 4)], RESAMPLING)
    pairs = [*itertools.combinations(range(4), 2)]
    assert found.p_values[pairs.index((2, 3))] == 1
    assert found.p_values[pairs.index((0, 1))] == pytest.approx(0.25, abs=0.02), "three samples: 2 of 8 sign patterns"


def test_many_pairs_can_still_be_told_apart() -> None:
    rng = np.random.default_rng(2)
    values = rng.normal(size=(400, 50)) + np.where(np.arange(50) < 25, 0.0, 1.0)
    (found,) = compare_all([Means(values=values, owner=np.arange(400))], RESAMPLING)
    pairs = [*itertools.combinations(range(50), 2)]
    differ = {pair for pair, p in zip(pairs, holm([*found.p_values]), strict=True) if p <= 0.05}
    assert 1225 / (NUM_FLIPS + 1) > 0.05, "flips alone could not show any of 1,225 pairs to differ"
    assert differ == {(first, second) for first, second in pairs if first < 25 <= second}


def test_the_bound_is_above_the_exact_p_value() -> None:
    """Of 14 samples that all differ by the same, 2 of 2^14 sign patterns reach the observed sum."""
    values = np.stack([np.zeros(14), np.ones(14)], axis=1)
    (found,) = compare_all([Means(values=values, owner=np.arange(14))], RESAMPLING)
    assert found.p_values[0] >= 2 / 2**14
    values = np.stack([np.zeros(40), np.ones(40)], axis=1)
    (found,) = compare_all([Means(values=values, owner=np.arange(40))], RESAMPLING)
    assert 2 / 2**40 < found.p_values[0] < 1e-7
