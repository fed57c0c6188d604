"""Files of weights: none is read before its sha256 was found to be the expected one, none is used with a NaN in it."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor


def require_sha256(path: Path, sha256: str, remedy: str) -> None:
    """Refuses a file that is not the expected one.

    Args:
        path: The file.
        sha256: Its expected digest, hexadecimal.
        remedy: What the user can do about it, for the message.

    Raises:
        ValueError: There is no such file, or its digest is another one.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file; {remedy}")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256.lower():
        raise ValueError(f"{path}: sha256 is {found}, expected {sha256}; {remedy}")


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, on the CPU.

    Raises:
        ValueError: It is not one, or a number in it is not finite; names the file, and the tensor.
    """
    from safetensors.torch import load_file

    try:
        weights = load_file(path)
    except unreadable() as error:
        raise ValueError(f"{path} is not a safetensors file that can be read: {error}") from error
    require_finite(weights, str(path))
    return weights


def unreadable() -> tuple[type[Exception], ...]:
    """What readers of weights raise on a file that is not one, or does not fit."""
    from safetensors import SafetensorError

    own = SafetensorError, UnpicklingError, RuntimeError, OSError, EOFError, AssertionError, StopIteration
    return *own, ValueError, LookupError, TypeError, AttributeError


def require_finite(weights: Mapping[str, Tensor], where: str) -> None:
    """Refuses weights that are no numbers: everything that is computed with them would be none either.

    Raises:
        ValueError: A tensor has a NaN or an infinity; names it.
    """
    for name, tensor in weights.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"{where}: {name} holds NaN or infinite values, it cannot be used")
