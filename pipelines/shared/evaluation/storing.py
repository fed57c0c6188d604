"""What a score was computed from, kept beside it, so that the score can be computed again to the last bit.

`evidence/index.json` names, for each metric, its entry of `params.yaml` and the file of each of its inputs; two metrics
that read the same share a file. Texts are kept as UTF-8 bytes and lengths.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from metrics.shared.texts import pack_texts, unpack_texts
from pipelines.shared.documents import read_json
from pipelines.shared.evaluation.evidence import FEATURES, PREFIXED, Value
from pipelines.shared.files import atomic_path, write_json
from pipelines.shared.params import freeze_lists

INDEX = "index.json"


def write_evidence(
    folder: Path, entries: Mapping[str, Mapping[str, Any]], used: Mapping[str, tuple[Any, Mapping[str, Value]]]
) -> None:
    """Write the evidence of an evaluation.

    Args:
        folder: A new or empty folder.
        entries: The entry in the section `metrics` of each metric.
        used: Each metric, and the inputs that it was given.
    """
    index: dict[str, Any] = {}
    written: set[str] = set()
    for key, (metric, inputs) in used.items():
        names = {name: file_name(name, metric) for name in inputs}
        for name, value in inputs.items():
            if names[name] not in written:
                with atomic_path(folder / names[name]) as temporary:
                    save_file(_tensors(value), temporary)
            written.add(names[name])
        index[key] = {"entry": dict(entries[key]), "inputs": names}
    write_json(folder / INDEX, index)


def read_index(folder: Path) -> dict[str, dict[str, Any]]:
    """For each metric its `entry` and the names of its `inputs`' files.

    Raises:
        ValueError: The evaluation has left no evidence.
    """
    path = folder / INDEX
    if not path.is_file():
        raise ValueError(f"{path} is missing: `vignette evaluate` writes it, `dvc pull` brings it")
    return freeze_lists(read_json(path))


def read_inputs(folder: Path, inputs: Mapping[str, str]) -> dict[str, Value]:
    """The inputs of a metric by name."""
    return {name: _value(load_file(folder / file)) for name, file in inputs.items()}


def file_name(name: str, metric: Any) -> str:
    """The file of an input: named by what the metric adds to it, where it does."""
    if name in FEATURES:
        return f"{name}-{metric.detector.name}-{_short(metric.detector.identity)}.safetensors"
    prefix = getattr(metric, "prefix", "")
    return f"{name}-{_short(prefix)}.safetensors" if name in PREFIXED and prefix else f"{name}.safetensors"


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _tensors(value: Value) -> dict[str, Tensor]:
    if isinstance(value, Tensor):
        return {"rows": value.contiguous()}
    content, lengths = pack_texts(value)
    return {"content": content.to(torch.uint8), "lengths": lengths}


def _value(tensors: Mapping[str, Tensor]) -> Value:
    if "rows" in tensors:
        return tensors["rows"]
    return unpack_texts(tensors["content"], tensors["lengths"])
