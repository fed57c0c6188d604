"""The feature store: what a fixed network says of fixed inputs is computed once and shared by all metrics and models.

An entry's name is the digest of all that decides its content, so an entry never goes stale; deleting the store costs
time and nothing else.
"""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from pipelines.shared.files import atomic_path, digest_json, digest_tree
from pipelines.shared.stage import STATE

STORE = STATE / "features"


class FeatureStore:
    """Tensors by the digest of their identity, one file each."""

    def __init__(self, folder: Path = STORE) -> None:
        """Nothing is read or written yet."""
        self.folder = folder

    def get(self, identity: tuple[str | int, ...], compute: Callable[[], Tensor]) -> Tensor:
        """The stored tensor, or what `compute` returns, which is then stored.

        Args:
            identity: Everything that decides the result: digests of weights and data, sizes, texts.
            compute: Makes the tensor, on the CPU.
        """
        path = self._path(identity)
        if stored := _load(path):
            return stored["features"]
        features = compute().contiguous()
        _save(path, {"features": features})
        return features

    def rows(
        self, identity: tuple[str | int, ...], digests: Sequence[str], compute: Callable[[list[int]], Tensor]
    ) -> Tensor:
        """One row for each input, of which those that are not stored yet are computed now and added.

        Only for features of an input that do not depend on which inputs are computed together.

        Args:
            identity: Everything that decides a row but its input.
            digests: sha256 of each input, as hexadecimal digits.
            compute: From places in `digests` to their rows, on the CPU.
        """
        path = self._path(("rows", *identity))
        stored = _load(path)
        known = [bytes(row.tolist()).hex() for row in stored["digests"]] if stored else []
        new = {digest: place for place, digest in enumerate(digests) if digest not in set(known)}
        if new:
            features = compute(list(new.values()))
            table = torch.cat([stored["features"], features]) if stored else features.contiguous()
            known += new
            names = torch.tensor([list(bytes.fromhex(digest)) for digest in known], dtype=torch.uint8)
            _save(path, {"features": table, "digests": names})
        else:
            table = stored["features"]
        places = {digest: place for place, digest in enumerate(known)}
        return table[torch.tensor([places[digest] for digest in digests])]

    def _path(self, identity: tuple[str | int, ...]) -> Path:
        digest = digest_json(list(identity))
        return self.folder / digest[:2] / f"{digest}.safetensors"


def build_identity(device: torch.device) -> tuple[str | int, ...]:
    """What decides the last bits of a result besides code and inputs: torch, the device, threads of the CPU."""
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    return torch.__version__, where, torch.get_num_threads()


@functools.cache
def package_digest(package: ModuleType) -> str:
    """Digest of a package's source files."""
    return digest_tree(Path(package.__path__[0]), "*.py")


def _load(path: Path) -> dict[str, Tensor]:
    """What a file holds; nothing if it is missing or damaged."""
    try:
        return load_file(path)
    except (FileNotFoundError, SafetensorError):
        return {}


def _save(path: Path, tensors: dict[str, Tensor]) -> None:
    with atomic_path(path) as temporary:
        save_file(tensors, temporary)
