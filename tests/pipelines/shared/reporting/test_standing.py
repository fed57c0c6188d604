"""Ranks come from comparisons and never from values alone."""

import numpy as np
import pytest

from metrics.shared.bootstrap import Resampling
from metrics.shared.paired import Place
from pipelines.shared.comparing import LEFT_OUT, Scored, compare
from pipelines.shared.reporting.comparable import comparable
from pipelines.shared.reporting.pairwise import Means, compare_all
from pipelines.shared.reporting.standing import Standing, standings
from tests.pipelines.shared.reporting.world import FD, MEDIAN, RECALL, scored

RESAMPLING = Resampling(num_resamples=200, seed=1)


def of(models: list[Scored]) -> dict[str, Standing]:
    found: dict[str, Standing] = {}
    for group in comparable(models):
        found |= standings(group, RESAMPLING)
    return found


def test_close_models_tie_and_far_ones_do_not() -> None:
    standing = of([scored("a", recall=0.2), scored("b", recall=0.8), scored("c", recall=0.75)])[RECALL]
    assert standing.places == {
        "b": Place(best=1, worst=2, group=1),
        "c": Place(best=1, worst=2, group=1),
        "a": Place(best=3, worst=3, group=2),
    }
    assert (standing.num_pairs, standing.num_differ) == (3, 2)


def alike(seed: int) -> list[Scored]:
    """Ten models that hit every caption with the same chance."""
    rng = np.random.default_rng(seed)
    models = []
    for number in range(10):
        each = scored(f"m{number}")
        hits = (rng.random(40) < 0.5).astype(float)
        scores = {**each.document["scores"], RECALL: {**each.document["scores"][RECALL], "value": hits.mean()}}
        values = {**each.values, f"retrieval/{RECALL}": hits}
        models.append(Scored(key=each.key, document={**each.document, "scores": scores}, values=values))
    return models


def test_the_best_of_many_by_chance_is_not_called_better() -> None:
    """Among 45 pairs of equals some differ at 5%; after the correction none does, in nearly all draws."""
    uncorrected = told_apart = 0
    for seed in range(10):
        models = alike(seed)
        values = np.stack([each.values[f"retrieval/{RECALL}"] for each in models], axis=1)
        (pairs,) = compare_all([Means(values=values, owner=np.arange(len(values)))], RESAMPLING)
        uncorrected += bool(pairs.p_values.min() <= 0.05)
        places = of(models)[RECALL].places
        told_apart += {(place.best, place.worst, place.group) for place in places.values()} != {(1, 10, 1)}
    assert uncorrected >= 3
    assert told_apart <= 1


def test_distances_are_compared_by_their_jackknife() -> None:
    near, same, far = scored("near", fd=1.0), scored("same", fd=1.001), scored("far", fd=3.0)
    name = f"distance/{FD}{LEFT_OUT}"
    noise = 0.01 * np.random.default_rng(8).normal(size=10)
    same = Scored(key="same", document=same.document, values={**same.values, name: same.values[name] + noise})
    far = Scored(key="far", document=far.document, values={**far.values, name: far.values[name] - noise})
    standing = of([near, same, far])[FD]
    assert standing.places["near"] == standing.places["same"] == Place(best=1, worst=2, group=1)
    assert standing.places["far"] == Place(best=3, worst=3, group=2), "the smaller distance is the better one"
    pairs = [compare(*pair, FD, RESAMPLING) for pair in ((near, same), (near, far), (same, far))]
    expected = np.median([pair.smallest_detectable() for pair in pairs if pair])
    assert standing.smallest_detectable == pytest.approx(expected)


def test_nothing_is_said_where_nothing_was_compared() -> None:
    assert of([scored("a"), scored("b")])[MEDIAN].places == {}, "of a median no values are kept"
    assert of([scored("a")])[RECALL] == Standing(places={}), "one model has no rank"
    alone = of([scored("a"), scored("b", about={"samples_sha256": "d" * 64})])[RECALL]
    assert alone.places == {}, "two models on different samples are not compared"
    with_reference = of([scored("a"), scored("noise", about={"reference": "shuffled"})])[RECALL]
    assert with_reference.places == {}, "a reference is no opponent"


def test_models_that_never_differ_have_no_smallest_difference() -> None:
    standing = of([scored("a"), scored("b")])[RECALL]
    assert (standing.num_differ, standing.smallest_detectable) == (0, None), "a zero would promise to find anything"
