"""CLIP models of given weights: any architecture that open_clip knows by name. Nothing is downloaded.

Source: Radford et al. 2021, arXiv:2103.00020. Weights are a local safetensors file whose sha256 is part of the
settings, so that the settings stand for the scores. Mean and deviation of the pixels are those that open_clip states
for the architecture's published weights (`metrics/shared/clip_tower.py` says why a file alone does not tell).

A model is loaded once per process and kept.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from pipelines.shared.devices import choose_device, make_deterministic, require_device
from pipelines.shared.files import digest_file
from pipelines.shared.loading import LoadedOnce

if TYPE_CHECKING:
    import torch
    from torch import Tensor

SHA256 = re.compile(r"[0-9a-f]{64}")
COLUMN = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, slots=True)
class ClipModel:
    """A CLIP model in evaluation mode.

    Attributes:
        model: open_clip's.
        preprocess: From a picture to float32 [3, H, W].
        tokenizer: From texts to int64 [B, T].
        device: Where the model is.
    """

    model: Any
    preprocess: Any
    tokenizer: Any
    device: "torch.device"

    def encode_images(self, images: Sequence[Image.Image]) -> "Tensor":
        """B RGB pictures -> float32 [B, D], rows of length 1."""
        import torch

        with torch.inference_mode():
            pixels = torch.stack([self.preprocess(image) for image in images]).to(self.device)
            return self.model.encode_image(pixels, normalize=True)

    def encode_texts(self, texts: Sequence[str]) -> "Tensor":
        """B texts -> float32 [B, D], rows of length 1."""
        import torch

        with torch.inference_mode():
            return self.model.encode_text(self.tokenizer(list(texts)).to(self.device), normalize=True)


def check_weights(weights: str, sha256: str) -> None:
    """Checks the settings that name a file of weights.

    Raises:
        ValueError: It is no safetensors file, or the digest is none.
    """
    if not weights.endswith(".safetensors"):
        raise ValueError(f"weights must be a .safetensors file, got {weights}")
    if not SHA256.fullmatch(sha256):
        raise ValueError(f"sha256 must be 64 lower-case hex digits, got {sha256!r}")


def check_model_settings(column: str, batch_size: int, device: str) -> None:
    """Checks the settings that all annotators by a model have.

    Raises:
        ValueError: One is out of range.
    """
    if not COLUMN.fullmatch(column):
        raise ValueError(f"column must match {COLUMN.pattern}, got {column!r}")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    require_device(device)


def require_file(setting: str, path: str) -> None:
    """Checks that the file which a setting names is there, before a job starts.

    Raises:
        ValueError: It is not.
    """
    if not Path(path).is_file():
        raise ValueError(f"{setting}: {path} does not exist")


def read_tensors(path: str, sha256: str) -> "dict[str, Tensor]":
    """The tensors of a file of weights, safetensors or what `torch.save` wrote of tensors alone.

    Raises:
        ValueError: There is no such file, or its digest is another one.
    """
    from metrics.shared.weights import read_weights

    return read_weights(Path(path), sha256)


@LoadedOnce
def load_clip(name: str, weights: str, sha256: str, device: str) -> ClipModel:
    """A model, on one thread of the CPU or on the GPU; once per process.

    Args:
        name: One of `open_clip.list_models()`, such as `ViT-B-32`.
        weights: Path of a safetensors file of the whole model.
        sha256: Digest that the file must have.
        device: `auto`, `cpu` or `cuda`.

    Raises:
        ValueError: The architecture is unknown or open_clip would fetch a part of it, the file is not the one of the
            settings or does not fit, or the device is not there.
    """
    import open_clip

    from metrics.shared.clip_tower import architecture
    from models.shared.plain_text import plain_text
    from models.shared.weights import require_finite, unreadable

    known = architecture(name)
    chosen = choose_device(device, f"CLIP {name}")
    make_deterministic(chosen, num_threads=1)
    if (found := digest_file(Path(weights))) != sha256:
        raise ValueError(f"weights: {weights} has sha256 {found}, the settings say {sha256}")
    try:
        model, _, preprocess = open_clip.create_model_and_transforms(
            name, pretrained=weights, image_mean=known.mean, image_std=known.std, device=chosen, pretrained_text=False
        )
    except unreadable() as error:
        raise ValueError(f"weights: {weights} does not fit {name}: {error}") from error
    require_finite(model.state_dict(), f"weights: {weights}")
    return ClipModel(model.eval(), preprocess, plain_text(open_clip.get_tokenizer(name)), chosen)
