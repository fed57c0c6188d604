"""Two evaluations compared on the same samples, after it was checked that they can be."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from metrics.shared.bootstrap import Resampling
from metrics.shared.paired import Paired, PairedJackknife, PairedMeans
from metrics.shared.protocol import check_comparable
from pipelines.shared.documents import read_json

PER_SAMPLE = "per_sample.safetensors"
LEFT_OUT = "_leave_one_group_out"


@dataclass(frozen=True, kw_only=True, slots=True)
class Scored:
    """The scores of one evaluation, with the values per unit behind them.

    Attributes:
        key: Name of the evaluation.
        document: What `scores/<key>.json` holds.
        values: Arrays by `<metric>/<name>`.
    """

    key: str
    document: Mapping[str, Any]
    values: Mapping[str, np.ndarray]

    @classmethod
    def load(cls, scores: Path, evaluated: Path, key: str) -> "Scored":
        """Read `<scores>/<key>.json` and `<evaluated>/<key>/per_sample.safetensors`.

        Raises:
            ValueError: The evaluation has not been run.
        """
        path = scores / f"{key}.json"
        if not path.is_file():
            raise ValueError(f"{path} is missing: run `vignette evaluate {key}`")
        return cls(key=key, document=read_json(path), values=load_file(evaluated / key / PER_SAMPLE))

    def metric(self, score: str) -> str:
        """The metric that gave a score.

        Raises:
            ValueError: None did.
        """
        for metric, names in self.document["groups"].items():
            if score in names:
                return metric
        raise ValueError(f"{self.key} has no score {score!r}; it has {', '.join(sorted(self.document['scores']))}")

    def protocol(self, score: str) -> dict[str, str | int | float]:
        """All that another value of this score must share with it to be compared."""
        protocol = self.document["protocols"][self.metric(score)]
        shared = {"samples_sha256": self.document["samples_sha256"], "noise_seed": self.document["seed"]}
        if protocol["detector"] == self.document["judge"]:
            shared["judge_sha256"] = self.document["judge_sha256"]
        return shared | protocol

    def owners(self, score: str) -> np.ndarray:
        """The sample that each value of a score belongs to."""
        metric = self.metric(score)
        for name, owner in self.values.items():
            prefix, _, rest = name.rpartition("owner")
            if not rest and prefix.startswith(f"{metric}/") and f"{metric}/{score}".startswith(prefix):
                return owner
        return np.arange(len(self.values[f"{metric}/{score}"]))


def compare(first: Scored, second: Scored, score: str, resampling: Resampling) -> Paired | None:
    """The difference of a score, second minus first, on the same samples.

    Args:
        first: What is compared with.
        second: What is compared.
        score: Name of the score.
        resampling: Of the interval and the test.

    Returns:
        None where no values per unit are kept of it: a median, or a value that is derived from others.

    Raises:
        ValueError: One lacks the score, or samples, judge or protocol differ; names the field.
    """
    check_comparable(first.protocol(score), second.protocol(score), names=(first.key, second.key))
    column = f"{first.metric(score)}/{score}"
    other = f"{second.metric(score)}/{score}"
    if column in first.values:
        return PairedMeans(first.values[column], second.values[other], first.owners(score), resampling)
    if column + LEFT_OUT in first.values:
        values = [each.document["scores"][score] for each in (first, second)]
        return PairedJackknife(
            (values[0]["value"], first.values[column + LEFT_OUT]),
            (values[1]["value"], second.values[other + LEFT_OUT]),
            n=min(value["n"] for value in values),
        )
    return None
