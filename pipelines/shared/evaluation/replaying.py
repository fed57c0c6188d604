"""A score computed again from stored evidence and compared, bit for bit, with what was published."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file

from pipelines.shared.evaluation.scoring import EVIDENCE, PER_SAMPLE, full_protocol, make_metric
from pipelines.shared.evaluation.storing import read_index, read_inputs
from pipelines.shared.manifests import read_manifest


@dataclass(frozen=True, kw_only=True, slots=True)
class Replayed:
    """A row that was computed again.

    Attributes:
        score: Name of the score.
        value: What it is now.
        differences: What differs from what was published, with both values; empty for an equal row.
    """

    score: str
    value: float
    differences: tuple[str, ...]


def replay(document: Mapping[str, Any], folder: Path, scores: Sequence[str]) -> list[Replayed]:
    """Compute scores again.

    Args:
        document: The published score document.
        folder: What the evaluation has left: evidence, per-sample values, manifest.
        scores: Names of the scores.

    Raises:
        ValueError: A file is missing, or is not the one that the manifest names.
    """
    for info in read_manifest(folder).files(EVIDENCE + "/"):
        info.check(folder)
    index = read_index(folder / EVIDENCE)
    published = load_file(folder / PER_SAMPLE)
    rows: dict[str, Replayed] = {}
    for name, group in document["groups"].items():
        wanted = [score for score in scores if score in group]
        if not wanted:
            continue
        metric = make_metric({name: index[name]["entry"]}, name)
        with torch.no_grad():
            metric.update(**read_inputs(folder / EVIDENCE, index[name]["inputs"]))
        found = {score: estimate.as_dict() for score, estimate in metric.compute().items()}
        protocol = full_protocol(metric, document["judge"], document["image_px"])
        of_all = [
            *_differing("protocol", protocol, document["protocols"][name]),
            *_differing_arrays(name, metric.per_sample(), published),
        ]
        for score in wanted:
            own = _differing("score", found.get(score, {}), document["scores"][score])
            value = found.get(score, {}).get("value", float("nan"))
            rows[score] = Replayed(score=score, value=value, differences=(*own, *of_all))
    return [rows[score] for score in scores]


def _differing(what: str, now: Mapping[str, Any], published: Mapping[str, Any]) -> Iterator[str]:
    for field in sorted({*now, *published}):
        if now.get(field) != published.get(field):
            yield f"{what} {field} is {now.get(field)!r}, published was {published.get(field)!r}"


def _differing_arrays(metric: str, now: Mapping[str, np.ndarray], published: Mapping[str, np.ndarray]) -> Iterator[str]:
    for name, values in sorted(now.items()):
        before = published.get(f"{metric}/{name}")
        if before is None or before.dtype != values.dtype or not np.array_equal(before, values):
            yield f"per-sample values {name} differ"
