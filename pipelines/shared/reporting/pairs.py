"""Two evaluations compared sample by sample: the difference of means with a 95% interval from a paired bootstrap."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from pipelines.shared.seeds import derive_seed

PER_SAMPLE = "per_sample.safetensors"


@dataclass(frozen=True, kw_only=True, slots=True)
class PairedDifference:
    """One score of two evaluations.

    Attributes:
        metric: Name of the score.
        first: Value of the evaluation that is compared with.
        second: Value of the evaluation that is compared.
        difference: Second minus first.
        low: Lower end of the difference's 95% interval.
        high: Upper end.
        higher_is_better: Direction of improvement.
    """

    metric: str
    first: float
    second: float
    difference: float
    low: float
    high: float
    higher_is_better: bool

    @property
    def verdict(self) -> str:
        """`better`, `worse` or `no difference shown`, of the second."""
        if self.low <= 0 <= self.high:
            return "no difference shown"
        return "better" if (self.low > 0) == self.higher_is_better else "worse"


def compare(
    data: Path,
    documents: Mapping[str, Mapping[str, Any]],
    pair: tuple[str, str],
    columns: Sequence[str],
    *,
    seed: int,
    num_resamples: int,
) -> list[PairedDifference]:
    """Paired differences of those scores in `columns` that are means of stored per-sample values.

    Raises:
        ValueError: The two were not scored on the same samples.
    """
    first, second = (documents[key] for key in pair)
    if first["samples_sha256"] != second["samples_sha256"]:
        raise ValueError(f"report.pairs: {pair[0]} and {pair[1]} were scored on different samples")
    values = [load_file(data / "evaluate" / key / PER_SAMPLE) for key in pair]
    differences = []
    for name in (name for name in columns if name in first["scores"]):
        column = next((column for column in values[0] if column.partition("/")[2] == name), None)
        if column is None or column not in values[1] or name not in second["scores"]:
            continue
        low, high = paired_interval(
            values[1][column] - values[0][column],
            owners(values[0], column),
            seed=derive_seed(seed, "pair", *pair, name),
            num_resamples=num_resamples,
        )
        differences.append(
            PairedDifference(
                metric=name,
                first=first["scores"][name]["value"],
                second=second["scores"][name]["value"],
                difference=second["scores"][name]["value"] - first["scores"][name]["value"],
                low=low,
                high=high,
                higher_is_better=first["scores"][name]["higher_is_better"],
            )
        )
    return differences


def owners(values: Mapping[str, np.ndarray], column: str) -> np.ndarray:
    """The sample that each value of a column belongs to: `<metric>/owner` or `<metric>/<direction>_owner`."""
    metric, _, name = column.partition("/")
    for key, owner in values.items():
        prefix, _, suffix = key.rpartition("owner")
        if not suffix and prefix.startswith(f"{metric}/") and f"{metric}/{name}".startswith(prefix):
            return owner
    return np.arange(len(values[column]))


def paired_interval(difference: np.ndarray, owner: np.ndarray, *, seed: int, num_resamples: int) -> tuple[float, float]:
    """95% percentile interval of the mean difference; values of one sample are drawn together.

    Args:
        difference: Per-value differences, float [m].
        owner: Sample that each value belongs to, int [m].
        seed: Seed of the resampling.
        num_resamples: How often.
    """
    _, index = np.unique(owner, return_inverse=True)
    sums = np.bincount(index, weights=difference)
    counts = np.bincount(index)
    weights = np.random.default_rng(seed).multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=num_resamples)
    means = (weights @ sums) / (weights @ counts)
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))
