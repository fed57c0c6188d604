"""Claimed orderings: values that are said to rise from one evaluation, or recaption round, to the next.

Neighbours are compared on the same samples (`metrics.shared.paired`), with Holm's correction for the steps of an
ordering. A step that goes up is shown only if the test says so; one that is not shown is not refuted either.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from metrics.shared.bootstrap import Resampling
from metrics.shared.paired import LEVEL, Paired, PairedMeans, holm
from pipelines.shared.comparing import Scored, compare
from pipelines.shared.layers import read_layer
from pipelines.shared.manifests import read_manifest
from pipelines.shared.params import build
from pipelines.shared.records import ORIGINS

SHOWN, NOT_SHOWN, CONTRADICTED = "shown", "not shown", "contradicted"


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderingEntry:
    """An entry of `report.orderings`.

    Attributes:
        rising: What is ordered, the lowest first: evaluations, or recaption rounds.
        score: The score of evaluations that rises.
        rejected: Of rounds, the origin whose share of rejected texts rises: `web` or `synthetic`.
    """

    rising: tuple[str, ...]
    score: str = ""
    rejected: str = ""

    def __post_init__(self) -> None:
        if len(self.rising) < 2 or len(set(self.rising)) < len(self.rising):
            raise ValueError(f"rising must name two or more different things, got {list(self.rising)}")
        if bool(self.score) == bool(self.rejected):
            raise ValueError("either score, of evaluations, or rejected, of recaption rounds, must be given")
        if self.rejected and self.rejected not in set(ORIGINS) - {"human"}:
            raise ValueError(f"rejected must be web or synthetic, got {self.rejected!r}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """Two neighbours of an ordering.

    Attributes:
        first: The one that is claimed to be lower.
        second: The other one.
        first_value: Its value on the samples that both have.
        second_value: The other one's.
        difference: Second minus first.
        low: Lower end of the difference's 95% interval.
        high: Upper end.
        p_value: Of "there is no difference", after Holm's correction for the steps.
        smallest_detectable: What a single test at 5% would find with a probability of 80%.
        n: Samples.
    """

    first: str
    second: str
    first_value: float
    second_value: float
    difference: float
    low: float
    high: float
    p_value: float
    smallest_detectable: float
    n: int

    @property
    def verdict(self) -> str:
        """`shown`, `not shown` or `contradicted`."""
        if self.p_value > LEVEL:
            return NOT_SHOWN
        return SHOWN if self.difference > 0 else CONTRADICTED


@dataclass(frozen=True, kw_only=True, slots=True)
class Ordering:
    """A claimed ordering and what became of it."""

    name: str
    entry: OrderingEntry
    steps: Sequence[Step]

    @property
    def verdict(self) -> str:
        """`contradicted` if a step is, `shown` if all steps are, else `not shown`."""
        verdicts = {step.verdict for step in self.steps}
        return CONTRADICTED if CONTRADICTED in verdicts else NOT_SHOWN if NOT_SHOWN in verdicts else SHOWN


def orderings(
    entries: Mapping[str, Mapping[str, Any]], scored: Mapping[str, Scored], data: Path, resampling: Resampling
) -> list[Ordering]:
    """All orderings, as they are named.

    Raises:
        ValueError: Something that is ordered does not exist, or two neighbours cannot be compared.
    """
    result = []
    for name, values in entries.items():
        where = f"report.orderings.{name}"
        entry = build(OrderingEntry, values, where)
        if entry.score:
            found = [_evaluations(scored, pair, entry.score, resampling, where) for pair in pairwise(entry.rising)]
        else:
            shares = {key: rejected_shares(data / "recaption" / key, entry.rejected) for key in entry.rising}
            found = [_rounds(shares, pair, resampling, where) for pair in pairwise(entry.rising)]
        adjusted = holm([paired.p_value() for paired, _ in found])
        steps = [
            Step(
                first=pair[0],
                second=pair[1],
                first_value=both[0],
                second_value=both[1],
                difference=paired.value,
                low=paired.low,
                high=paired.high,
                p_value=p_value,
                smallest_detectable=paired.smallest_detectable(),
                n=paired.n,
            )
            for pair, (paired, both), p_value in zip(pairwise(entry.rising), found, adjusted, strict=True)
        ]
        result.append(Ordering(name=name, entry=entry, steps=steps))
    return result


def rejected_shares(folder: Path, origin: str) -> dict[str, float]:
    """The share of a sample's judged texts of an origin that a round did not keep, by key; without such texts, none."""
    shares = {}
    for info in read_manifest(folder).layers:
        for row in read_layer(folder, info, ["key", "candidates"]).to_pylist():
            kept = [each["kept"] for each in row["candidates"] if each["origin"] == origin and each["scores"]]
            if kept:
                shares[row["key"]] = 1 - sum(kept) / len(kept)
    return shares


def _evaluations(
    scored: Mapping[str, Scored], pair: tuple[str, str], score: str, resampling: Resampling, where: str
) -> tuple[Paired, tuple[float, float]]:
    for key in pair:
        if key not in scored:
            raise ValueError(f"params.yaml: {where}: there is no evaluation {key!r}")
    first, second = (scored[key] for key in pair)
    try:
        paired = compare(first, second, score, resampling)
    except ValueError as error:
        raise ValueError(f"params.yaml: {where}: {error}") from error
    if paired is None:
        raise ValueError(f"params.yaml: {where}: of {score} no values by sample are kept")
    return paired, (first.document["scores"][score]["value"], second.document["scores"][score]["value"])


def _rounds(
    shares: Mapping[str, Mapping[str, float]], pair: tuple[str, str], resampling: Resampling, where: str
) -> tuple[Paired, tuple[float, float]]:
    first, second = (shares[key] for key in pair)
    keys = sorted(set(first) & set(second))
    if len(keys) < 2:
        raise ValueError(f"params.yaml: {where}: {pair[0]} and {pair[1]} judged no two samples in common")
    values = [np.array([side[key] for key in keys]) for side in (first, second)]
    paired = PairedMeans(values[0], values[1], np.arange(len(keys)), resampling)
    return paired, (float(values[0].mean()), float(values[1].mean()))
