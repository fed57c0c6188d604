"""Intervals against closed forms, a slow restatement, and repeated draws of data."""

import numpy as np
import pytest
from scipy.stats import binomtest

from metrics.shared import bootstrap
from metrics.shared.bootstrap import (
    Resampling,
    bootstrap_estimate,
    group_labels,
    jackknife,
    proportion_estimate,
    resampled_means,
    resampled_medians,
)

rng = np.random.default_rng(0)


def test_standard_error_of_a_mean_is_the_closed_form():
    values = rng.normal(3, 2, size=400)
    resampled = resampled_means(values, np.arange(400), Resampling(num_resamples=4000))
    assert resampled.shape == (4000,)
    assert resampled.std() == pytest.approx(values.std() / 20, rel=0.05)
    assert resampled.mean() == pytest.approx(values.mean(), abs=3 * resampled.std() / np.sqrt(4000))


def test_equal_values_within_clusters_count_once():
    per_cluster = rng.normal(size=100)
    clusters = np.repeat(np.arange(100), 5)
    resampling = Resampling(num_resamples=500)
    assert np.allclose(
        resampled_means(per_cluster[clusters], clusters, resampling),
        resampled_means(per_cluster, np.arange(100), resampling),
    )
    alone = resampled_means(per_cluster[clusters], np.arange(500), resampling)
    together = resampled_means(per_cluster[clusters], clusters, resampling)
    assert together.std() / alone.std() == pytest.approx(np.sqrt(5), rel=0.15)


def _draws(num_clusters: int, resampling: Resampling) -> np.ndarray:
    """How often each cluster is in each resample."""
    rows = np.concatenate([*bootstrap._draw_blocks(num_clusters, resampling)])
    return np.stack([np.bincount(row, minlength=num_clusters) for row in rows])


def test_means_and_medians_of_unequal_clusters_are_those_of_the_repeated_rows():
    clusters = rng.integers(0, 12, size=60)
    values = rng.integers(0, 20, size=60).astype(float)
    resampling = Resampling(num_resamples=100, seed=5)
    means, medians = resampled_means(values, clusters, resampling), resampled_medians(values, clusters, resampling)
    names, members = np.unique(clusters, return_inverse=True)
    for index, weights in enumerate(_draws(len(names), resampling)):
        repeated = np.repeat(values, weights[members])
        assert means[index] == pytest.approx(repeated.mean())
        assert medians[index] == np.median(repeated)


def test_columns_share_the_draws():
    values = rng.normal(size=(50, 3))
    resampling = Resampling(num_resamples=200)
    together = resampled_means(values, np.arange(50), resampling)
    for column in range(3):
        assert np.allclose(together[:, column], resampled_means(values[:, column], np.arange(50), resampling))


def test_draws_do_not_depend_on_the_block_size(monkeypatch):
    before = _draws(30, Resampling(num_resamples=200))
    assert (before.sum(axis=1) == 30).all()
    monkeypatch.setattr(bootstrap, "BLOCK_ELEMENTS", 7 * 30)
    assert np.array_equal(before, _draws(30, Resampling(num_resamples=200)))
    assert not np.array_equal(before, _draws(30, Resampling(num_resamples=200, seed=1)))


def test_interval_covers_the_mean_of_clustered_data():
    covered = 0
    for repetition in range(100):
        data = np.random.default_rng(repetition)
        clusters = np.repeat(np.arange(60), 3)
        values = data.normal(size=60)[clusters] + 0.3 * data.normal(size=180)
        resampled = resampled_means(values, clusters, Resampling(num_resamples=300, seed=repetition))
        estimate = bootstrap_estimate(values.mean(), resampled, n=60, higher_is_better=True)
        covered += estimate.low <= 0 <= estimate.high
    assert covered >= 87  # 95 expected; below 87 has a probability of 0.001


@pytest.mark.parametrize("hits", [0, 30])
def test_a_proportion_at_an_edge_has_the_interval_of_clopper_and_pearson(hits):
    values = np.full(30, hits / 30)
    resampled = resampled_means(values, np.arange(30), Resampling())
    assert np.ptp(resampled) == 0, "which is why the bootstrap says nothing here"
    estimate = proportion_estimate(values.mean(), resampled, n=30, higher_is_better=True)
    expected = binomtest(hits, 30).proportion_ci(method="exact")
    assert (estimate.low, estimate.high) == pytest.approx((expected.low, expected.high))
    assert (estimate.value, estimate.n, estimate.interval) == (hits / 30, 30, "exact")


def test_a_proportion_elsewhere_is_resampled():
    values = (np.arange(40) < 3).astype(float)
    resampled = resampled_means(values, np.arange(40), Resampling())
    expected = bootstrap_estimate(values.mean(), resampled, n=40, higher_is_better=False)
    assert proportion_estimate(values.mean(), resampled, n=40, higher_is_better=False) == expected


def test_the_interval_at_an_edge_covers_a_rare_failure():
    """2% of all clusters fail, with all their values; of 60 clusters often none does."""
    covered = missed = 0
    for repetition in range(200):
        data = np.random.default_rng(repetition)
        values = (data.random(60) >= 0.02).astype(float).repeat(3)
        resampled = resampled_means(values, np.arange(60).repeat(3), Resampling(num_resamples=100))
        estimate = proportion_estimate(values.mean(), resampled, n=60, higher_is_better=True)
        if values.mean() == 1:
            covered += estimate.low <= 0.98 <= estimate.high
            missed += not resampled.min() <= 0.98 <= resampled.max()
    assert covered == missed >= 30


def test_a_proportion_is_one():
    with pytest.raises(AssertionError, match=r"must be in \[0, 1\], got 1.5"):
        proportion_estimate(1.5, np.ones(3), n=3, higher_is_better=True)


def test_one_cluster_is_refused():
    with pytest.raises(ValueError, match="at least 2 test samples, got 1"):
        resampled_means(np.ones(5), np.zeros(5), Resampling())


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"num_resamples": 10}, "num_resamples must be at least 100, got 10"), ({"seed": -1}, "seed must be at least 0")],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        Resampling(**settings)


def test_groups_are_balanced_and_seeded():
    labels = group_labels(103, 10, (0, 1))
    assert sorted(np.bincount(labels)) == [10] * 7 + [11] * 3
    assert np.array_equal(labels, group_labels(103, 10, (0, 1)))
    assert not np.array_equal(labels, group_labels(103, 10, (0, 2)))
    with pytest.raises(ValueError, match="at most half the number of samples"):
        group_labels(19, 10, (0,))


def test_jackknife_of_a_mean_has_the_standard_error_of_group_means():
    values = rng.normal(size=(20, 15))
    left_out = [np.delete(values, group, axis=0).mean() for group in range(20)]
    result = jackknife(values.mean(), left_out)
    assert result.unbiased == pytest.approx(values.mean())
    standard_error = values.mean(axis=1).std(ddof=1) / np.sqrt(20)
    assert result.half_width == pytest.approx(2.093 * standard_error, rel=1e-3)  # t of 19 degrees of freedom


def test_jackknife_removes_the_bias_of_the_squared_mean():
    """The squared mean of n values is too large by variance / n, without a further term."""
    values = rng.normal(2, 3, size=40)
    left_out = [np.delete(values, index).mean() ** 2 for index in range(40)]
    result = jackknife(values.mean() ** 2, left_out)
    assert result.unbiased == pytest.approx(values.mean() ** 2 - values.var(ddof=1) / 40)
