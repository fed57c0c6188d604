"""The feature store: what a fixed network says of fixed inputs is computed once and shared by all metrics and models.

An entry's name is the digest of all that decides its content, so an entry never goes stale; deleting the store costs
time and nothing else.
"""

from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from pipelines.shared.files import atomic_path, digest_json
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
        digest = digest_json(list(identity))
        path = self.folder / digest[:2] / f"{digest}.safetensors"
        try:
            return load_file(path)["features"]
        except (FileNotFoundError, SafetensorError):
            features = compute().contiguous()
            with atomic_path(path) as temporary:
                save_file({"features": features}, temporary)
            return features
