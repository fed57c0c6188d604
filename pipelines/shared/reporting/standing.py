"""Where models stand in a column: rank intervals and tie groups from comparisons of all pairs, corrected by Holm."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from metrics.shared.bootstrap import Resampling
from metrics.shared.paired import LEVEL, Place, holm, places
from pipelines.shared.comparing import LEFT_OUT, Scored, compare
from pipelines.shared.reporting.comparable import Comparable, scores_of
from pipelines.shared.reporting.pairwise import AllPairs, Means, compare_all


@dataclass(frozen=True, kw_only=True)
class Standing:
    """One score of comparable models.

    Attributes:
        places: By evaluation; empty where fewer than two models have the score, or nothing is kept to compare it by.
        num_pairs: Pairs of models compared.
        num_differ: Those shown to differ.
        smallest_detectable: Median over the pairs whose difference varies at all; None without any.
    """

    places: Mapping[str, Place]
    num_pairs: int = 0
    num_differ: int = 0
    smallest_detectable: float | None = None


def standings(group: Comparable, resampling: Resampling) -> dict[str, Standing]:
    """Of every score of a group of comparable models.

    Args:
        group: Its references take no part.
        resampling: Of the comparisons, as `compare` takes it.
    """
    having = {score: _having(group, score) for score in group.scores}
    by_units = [score for score, models in having.items() if _kept(models, score, "")]
    means = [_means(having[score], score) for score in by_units]
    pairs = dict(zip(by_units, compare_all(means, resampling), strict=True))
    pairs |= {
        score: _jackknives(models, score, resampling)
        for score, models in having.items()
        if _kept(models, score, LEFT_OUT)
    }
    return {
        score: _standing(models, score, pairs[score]) if score in pairs else Standing(places={})
        for score, models in having.items()
    }


def _having(group: Comparable, score: str) -> list[Scored]:
    """Models that have a score, the best value first."""
    models = [each for each in group.models if score in scores_of(each, group.metric)]
    sign = -1 if models and models[0].document["scores"][score]["higher_is_better"] else 1
    return sorted(models, key=lambda each: (sign * each.document["scores"][score]["value"], each.key))


def _kept(models: Sequence[Scored], score: str, suffix: str) -> bool:
    return len(models) > 1 and all(f"{each.metric(score)}/{score}{suffix}" in each.values for each in models)


def _means(models: Sequence[Scored], score: str) -> Means:
    owner = models[0].owners(score)
    for each in models:
        assert np.array_equal(each.owners(score), owner), f"{each.key} and {models[0].key} have equal samples"
    values = np.stack([each.values[f"{each.metric(score)}/{score}"] for each in models], axis=1)
    return Means(values=values, owner=owner)


def _jackknives(models: Sequence[Scored], score: str, resampling: Resampling) -> AllPairs:
    found = [compare(first, second, score, resampling) for first, second in itertools.combinations(models, 2)]
    return AllPairs(
        p_values=np.array([pair.p_value() for pair in found if pair]),
        smallest_detectable=np.array([pair.smallest_detectable() for pair in found if pair]),
    )


def _standing(models: Sequence[Scored], score: str, pairs: AllPairs) -> Standing:
    keys = [each.key for each in models]
    adjusted = holm([*pairs.p_values])
    detectable = pairs.smallest_detectable[pairs.smallest_detectable > 0]
    differ = {frozenset(pair) for pair, p in zip(itertools.combinations(keys, 2), adjusted, strict=True) if p <= LEVEL}
    return Standing(
        places=places(keys, differ),
        num_pairs=len(adjusted),
        num_differ=len(differ),
        smallest_detectable=float(np.median(detectable)) if len(detectable) else None,
    )
