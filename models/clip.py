"""CLIP: an image and a text transformer trained so that pairs meet in one space.

Source: Radford et al. 2021, arXiv:2103.00020. The network, its initialization, the tokenizer and its vocabulary are
open_clip's (Cherti et al. 2022, arXiv:2212.07143). Loss: `models.shared.contrastive`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from models import Batch
from models.shared.checks import require, require_one_of
from models.shared.contrastive import ContrastiveModel
from models.shared.plain_text import plain_text
from models.shared.weights import require_finite, require_sha256, unreadable

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
SIZES = (
    *("embed_dim", "image_px", "patch_px", "vision_width", "vision_layers"),
    *("text_width", "text_layers", "text_heads", "context_length"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Which network, and how it is trained.

    Attributes:
        architecture: Name of a CLIP of open_clip with two transformers, such as `ViT-B-32` or `ViT-L-14-quickgelu`.
        embed_dim: Size of the embeddings; this and all following sizes: 0 for the architecture's own.
        image_px: Side of the images.
        patch_px: Side of a patch.
        vision_width: Width of the image transformer, a multiple of its heads' width (64 in most architectures).
        vision_layers: Layers of the image transformer.
        text_width: Width of the text transformer, a multiple of `text_heads`.
        text_layers: Layers of the text transformer.
        text_heads: Attention heads of the text transformer.
        context_length: Tokens of a caption, first and last one counted; longer captions are cut.
        weights: File of weights in open_clip's format (safetensors or PyTorch) to start from; empty: from scratch.
        weights_sha256: Digest of that file.
        temperature: One over the scale of the cosines, at the start; weights from a file bring their own.
    """

    architecture: str = "ViT-B-32"
    embed_dim: int = 0
    image_px: int = 0
    patch_px: int = 0
    vision_width: int = 0
    vision_layers: int = 0
    text_width: int = 0
    text_layers: int = 0
    text_heads: int = 0
    context_length: int = 0
    weights: str = ""
    weights_sha256: str = ""
    temperature: float = 0.07

    def __post_init__(self) -> None:
        for name in SIZES:
            require(getattr(self, name) >= 0, name, getattr(self, name), "at least 1, or 0 for the architecture's own")
        require(0.01 <= self.temperature <= 1, "temperature", self.temperature, "in [0.01, 1]")
        given = bool(self.weights) == bool(self.weights_sha256)
        require(given, "weights_sha256", self.weights_sha256, "given if and only if weights is")


class Model(ContrastiveModel):
    """See `models` for the methods."""

    batch_keys = ("image", "caption")
    feature_sources: Mapping[str, str] = {}
    pixel_scale: Tensor
    pixel_shift: Tensor

    def __init__(self, config: Config, bases: Mapping[str, nn.Module]) -> None:
        super().__init__()
        from open_clip.tokenizer import SimpleTokenizer

        self.config = config
        self.network = _network(config)
        self.image_px = int(self.network.visual.image_size[0])
        self.tokenizer = plain_text(SimpleTokenizer(context_length=self.network.context_length))
        mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
        self.register_buffer("pixel_scale", 0.5 / std, persistent=False)
        self.register_buffer("pixel_shift", (0.5 - mean) / std, persistent=False)

    @property
    def logit_scale(self) -> nn.Parameter:
        """Logarithm of the scale of the cosines, scalar."""
        return self.network.logit_scale

    def embed_pairs(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Embeddings of the images and of the captions, each float32 [B, D], rows of length 1."""
        return self.encode_image(batch["image"]), self.encode_text(batch["caption"])

    def image_input(self, image: Tensor) -> Tensor:
        """The images themselves: no part of the tower is frozen."""
        return image

    def embed_image(self, x: Tensor) -> Tensor:
        """Images float32 [B, 3, H, W] in [-1, 1] -> float32 [B, D], rows of length 1."""
        return functional.normalize(self.network.encode_image(x * self.pixel_scale + self.pixel_shift).float(), dim=-1)

    def text_input(self, captions: Sequence[str]) -> Tensor:
        """Token ids int64 [B, context_length]."""
        return self.tokenizer(list(captions)).to(self.logit_scale.device)

    def embed_text(self, x: Tensor) -> Tensor:
        """Token ids int64 [B, context_length] -> float32 [B, D], rows of length 1."""
        return functional.normalize(self.network.encode_text(x).float(), dim=-1)

    def encode_image(self, image: Tensor) -> Tensor:
        """float32 [B, 3, H, W] in [-1, 1] -> float32 [B, D], rows of length 1."""
        return self.embed_image(self.image_input(image))

    def encode_text(self, captions: Sequence[str]) -> Tensor:
        """B captions -> float32 [B, D], rows of length 1."""
        return self.embed_text(self.text_input(captions))


def _network(config: Config) -> Any:
    """open_clip's network, with weights from the file if one is named.

    Raises:
        ValueError: The sizes do not fit each other, or the file's digest or tensors are not the expected ones.
    """
    from open_clip.factory import load_checkpoint
    from open_clip.model import CLIP

    network = CLIP(**_architecture(config), init_logit_scale=math.log(1 / config.temperature))
    if config.weights:
        require_sha256(Path(config.weights), config.weights_sha256, "set weights and weights_sha256 to one file")
        try:
            load_checkpoint(network, config.weights, strict=True)
        except unreadable() as error:
            raise ValueError(
                f"weights {config.weights} do not fit architecture {config.architecture}: {error}"
            ) from error
        require_finite(network.state_dict(), f"weights {config.weights}")
    return network


def _architecture(config: Config) -> dict[str, Any]:
    """open_clip's description of the named network, with the sizes that are set in place of its own.

    Raises:
        ValueError: There is no such architecture, it is not a plain CLIP, or the sizes do not fit each other.
    """
    from open_clip import get_model_config, list_models

    plain = [name for name in list_models() if _is_plain(get_model_config(name))]
    require_one_of("architecture", config.architecture, plain)
    architecture = get_model_config(config.architecture)
    vision, text = architecture["vision_cfg"], architecture["text_cfg"]
    settings = (
        (architecture, {"embed_dim": config.embed_dim}),
        (vision, {"image_size": config.image_px, "patch_size": config.patch_px}),
        (vision, {"width": config.vision_width, "layers": config.vision_layers}),
        (text, {"width": config.text_width, "layers": config.text_layers, "heads": config.text_heads}),
        (text, {"context_length": config.context_length}),
    )
    for section, values in settings:
        section.update({name: value for name, value in values.items() if value})
    head_width = vision.get("head_width", 64)
    require(vision["width"] % head_width == 0, "vision_width", vision["width"], f"a multiple of {head_width}")
    fits = vision["image_size"] % vision["patch_size"] == 0
    require(fits, "patch_px", vision["patch_size"], f"a divisor of image_px = {vision['image_size']}")
    require(
        text["width"] % text["heads"] == 0, "text_heads", text["heads"], f"a divisor of text_width = {text['width']}"
    )
    return architecture


def _is_plain(architecture: Mapping[str, Any]) -> bool:
    """Whether it is a vision transformer and a text transformer with CLIP's vocabulary, and nothing else."""
    vision, text = architecture["vision_cfg"], architecture["text_cfg"]
    return (
        set(architecture) <= {"embed_dim", "vision_cfg", "text_cfg", "quick_gelu"}
        and isinstance(vision.get("layers"), int)
        and {"patch_size", "image_size", "width"} <= set(vision)
        and {"width", "heads", "layers", "context_length"} <= set(text)
        and "timm_model_name" not in vision
        and not any(name.startswith("hf_") for name in text)
    )
