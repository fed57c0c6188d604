"""Retrieval by caption origin and by source: the same values per query, averaged over a part of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from metrics.shared.bootstrap import Resampling, proportion_estimate, resampled_means
from metrics.shared.estimates import Estimate
from pipelines.shared.comparing import Scored
from pipelines.shared.documents import read_json
from pipelines.shared.reporting.comparable import Comparable, scores_of

SAMPLES = "samples.json"
LEAST = 10  # samples of a part


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """Some of the queries.

    Attributes:
        facet: `caption origin` or `source`.
        name: Which.
        n: Samples with such a query.
    """

    facet: str
    name: str
    n: int


@dataclass(frozen=True, kw_only=True)
class Breakdown:
    """One score by parts.

    Attributes:
        score: Its name.
        parts: Columns.
        lines: For each evaluation, and whether it is a reference, its estimates; None where `n` is too small.
    """

    score: str
    parts: Sequence[Part]
    lines: Sequence[tuple[str, bool, Sequence[Estimate | None]]]


def breakdowns(group: Comparable, columns: Sequence[str], evaluated: Path, resampling: Resampling) -> list[Breakdown]:
    """The group's scores in `columns` that are means over queries, by parts.

    Args:
        group: Comparable evaluations; nothing comes of any but retrieval's.
        columns: Names of scores.
        evaluated: Where `<evaluation>/samples.json` is.
        resampling: Of the intervals.
    """
    if not str(group.protocol["metric"]).startswith("retrieval"):
        return []
    found = []
    for score in columns:
        members = [each for each in group.members if score in scores_of(each, group.metric)]
        column = f"{group.metric}/{score}"
        if "recall@" in score and members and all(column in each.values for each in members):
            document = read_json(evaluated / members[0].key / SAMPLES)
            parts = _parts(document, members[0].owners(score))
            if parts:
                found.append(_breakdown(score, members, parts, resampling))
    return found


def _parts(document: dict[str, list[dict[str, str | int]]], owner: np.ndarray) -> list[tuple[str, str, np.ndarray]]:
    """Facet, name and queries (bool [N]) of all parts; a facet with one part only says nothing.

    A query has a caption's origin if it is that caption, or a picture that has no other.
    """
    labels = {"source": np.array([str(each["source"]) for each in document["samples"]])[owner]}
    captions = document["captions"]
    if np.array_equal(owner, [each["owner"] for each in captions]):
        labels = {"caption origin": np.array([str(each["origin"]) for each in captions]), **labels}
    return [
        (facet, str(name), queries == name)
        for facet, queries in labels.items()
        if len(np.unique(queries)) > 1
        for name in np.unique(queries)
    ]


def _breakdown(
    score: str, members: Sequence[Scored], parts: Sequence[tuple[str, str, np.ndarray]], resampling: Resampling
) -> Breakdown:
    owner = members[0].owners(score)
    values = np.stack([each.values[f"{each.metric(score)}/{score}"] for each in members], axis=1)
    sizes = [len(np.unique(owner[queries])) for _, _, queries in parts]
    estimates = [
        _estimates(values[queries], owner[queries], resampling) if n >= LEAST else [None] * len(members)
        for (_, _, queries), n in zip(parts, sizes, strict=True)
    ]
    return Breakdown(
        score=score,
        parts=[Part(facet=facet, name=name, n=n) for (facet, name, _), n in zip(parts, sizes, strict=True)],
        lines=[
            (each.key, bool(each.document["reference"]), [column[place] for column in estimates])
            for place, each in enumerate(members)
        ],
    )


def _estimates(values: np.ndarray, owner: np.ndarray, resampling: Resampling) -> list[Estimate | None]:
    """Of values per query and evaluation, [N, M]."""
    resampled = resampled_means(values, owner, resampling)
    n = len(np.unique(owner))
    return [
        proportion_estimate(float(column.mean()), resampled[:, place], n=n, higher_is_better=True)
        for place, column in enumerate(values.T)
    ]
