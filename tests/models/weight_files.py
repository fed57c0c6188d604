"""Files of weights that must never be used, made as an attacker or a broken training would make them."""

import json
import pickle
import struct
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

HEADER_BYTES = 101_000_000
ATTACKS = (
    "pickle",
    "empty",
    "truncated",
    "truncated-header",
    "overlapping",
    "out-of-range",
    "hole",
    "huge-header",
    "wrong-shape",
    "unknown-type",
    "not-json",
    "duplicate",
    "nan",
    "infinite",
)


class Payload:
    """Pickled, it would make a file when it is read."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> Any:
        return Path.touch, (self.witness,)


def write_attack(kind: str, path: Path, witness: Path) -> None:
    """Write one of `ATTACKS`; code in it, if it ran, would make the file `witness`."""
    f32: dict[str, Any] = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    if kind == "pickle":
        path.write_bytes(pickle.dumps({"weight": Payload(witness)}))
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind in ("truncated", "truncated-header"):
        save_file({"weight": torch.ones(64)}, path)
        path.write_bytes(path.read_bytes()[: -5 if kind == "truncated" else 20])
    elif kind == "huge-header":
        path.write_bytes(struct.pack("<Q", HEADER_BYTES) + b"{")
        with path.open("r+b") as handle:
            handle.truncate(HEADER_BYTES + 16)
    elif kind in ("nan", "infinite"):
        tensor = torch.ones(64)
        tensor[17] = float("nan" if kind == "nan" else "inf")
        save_file({"fine": torch.ones(2), "weight": tensor}, path)
    else:
        headers: dict[str, Any] = {
            "overlapping": {"weight": f32, "other": {**f32, "data_offsets": [4, 12]}},
            "out-of-range": {"weight": {**f32, "data_offsets": [0, 1 << 40]}},
            "hole": {"weight": f32, "other": {**f32, "data_offsets": [16, 24]}},
            "wrong-shape": {"weight": {**f32, "shape": [1 << 60, 1 << 60]}},
            "unknown-type": {"weight": {**f32, "dtype": "F3"}},
        }
        header = json.dumps(headers[kind]) if kind in headers else '{"weight": ['
        if kind == "duplicate":
            header = f'{{"weight": {json.dumps(f32)}, "weight": {json.dumps({**f32, "data_offsets": [8, 16]})}}}'
        path.write_bytes(struct.pack("<Q", len(header)) + header.encode() + bytes(24))
