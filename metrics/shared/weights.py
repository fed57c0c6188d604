"""Weights of fixed networks: read from a file of known sha256, or drawn from a fixed stream. Nothing is downloaded.

Drawn weights are He-uniform (He et al. 2015, arXiv:1502.01852, eq. 10), biases 0, from the raw output of Philox (Salmon
et al. 2011), which is the same on every platform and in every version of numpy, so that their digest can be stated.
"""

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import torch
from torch import Tensor


def read_weights(path: Path, sha256: str) -> dict[str, Tensor]:
    """A state dict from a file, read after its digest was compared.

    Args:
        path: A `.safetensors` file, or one of `torch.save` that holds tensors alone.
        sha256: Digest that it must have.

    Raises:
        ValueError: There is no such file, it is another, it cannot be read, it holds more than tensors by name, or a
            number in it is not finite.
    """
    check_file(path, sha256)
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        is_safe = path.suffix == ".safetensors"
        weights = load_file(path) if is_safe else torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, UnpicklingError, RuntimeError, OSError, EOFError, ValueError, LookupError) as error:
        raise ValueError(f"{path} is not a file of weights that can be read: {_first_line(error)}") from error
    if not isinstance(weights, Mapping) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise ValueError(f"{path} must hold tensors by name and nothing else")
    for name, tensor in weights.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"{path}: {name} holds NaN or infinite values, it cannot be used")
    return dict(weights)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def check_file(path: Path, sha256: str) -> None:
    """Refuses a file that is not the one that was meant.

    Raises:
        ValueError: There is no such file, or it is another.
    """
    if not path.is_file():
        raise ValueError(f"weights_file {path} does not exist")
    with path.open("rb") as file:
        check_digest(str(path), hashlib.file_digest(file, "sha256").hexdigest(), sha256)


def draw_weights(shapes: Mapping[str, Sequence[int]], key: int) -> dict[str, Tensor]:
    """Random weights by name: of matrices and kernels [out, in, ...] uniform, of vectors 0.

    Args:
        shapes: Shapes in the order in which they are drawn.
        key: Of the stream.
    """
    stream = np.random.Philox(key=key)
    weights = {}
    for name, shape in shapes.items():
        values = np.zeros(shape, np.float32)
        if len(shape) > 1:
            uniform = (stream.random_raw(math.prod(shape)) >> 40) * 2.0**-23 - 1
            values = (uniform * math.sqrt(6 / math.prod(shape[1:]))).astype(np.float32).reshape(shape)
        weights[name] = torch.from_numpy(values)
    return weights


def digest_weights(weights: Iterable[Tensor]) -> str:
    """sha256 of float32 tensors, one after another, as little-endian bytes."""
    hashed = hashlib.sha256()
    for values in weights:
        hashed.update(values.numpy().astype("<f4").tobytes())
    return hashed.hexdigest()


def check_digest(what: str, found: str, expected: str) -> None:
    """Refuses weights that are not those that were meant.

    Raises:
        ValueError: The digests differ.
    """
    if found != expected:
        raise ValueError(f"{what} must have sha256 {expected}, got {found}")


def is_sha256(text: str) -> bool:
    """Whether this is a digest as `hashlib` writes it."""
    return len(text) == 64 and set(text) <= set("0123456789abcdef")
