"""CLIP by locked tuning: packaged pretrained towers that stay as they are, and two learned heads that align them.

Source: Zhai et al. 2022 (LiT), arXiv:2111.07991; its setting with both towers locked ("LL"), which the paper finds
worse than tuning the text tower and which needs the fewest pairs: some hundreds instead of some millions. Loss:
`models.shared.contrastive`.

Differs from the paper: the towers are EfficientNet-Lite0 and the MiniLM sentence encoder (`models.shared.packaged`),
because they come from the package index with their weights; each head is a layer norm, dropout and one linear map.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from models import Batch
from models.shared.checks import require
from models.shared.contrastive import ContrastiveModel
from models.shared.frozen import Frozen
from models.shared.packaged import ImageTower, TextTower, image_tower, text_tower


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Settings.

    Attributes:
        embed_dim: Size of the embeddings.
        dropout: Share of a tower's features that is dropped in training.
        temperature: One over the scale of the cosines, at the start; it is learned, within [0.01, 1].
    """

    embed_dim: int = 256
    dropout: float = 0.5
    temperature: float = 0.07

    def __post_init__(self) -> None:
        require(self.embed_dim >= 1, "embed_dim", self.embed_dim, "at least 1")
        require(0 <= self.dropout < 1, "dropout", self.dropout, "in [0, 1)")
        require(0.01 <= self.temperature <= 1, "temperature", self.temperature, "in [0.01, 1]")


class Model(ContrastiveModel):
    """See `models` for the methods; only the heads and the temperature are trained and saved.

    Attributes:
        feature_sources: What the frozen features in `batch_keys` are made of.
        feature_key: What they are, whatever the settings.
    """

    image_px = ImageTower.image_px
    batch_keys = ("image_feature", "text_feature")
    feature_sources: ClassVar[Mapping[str, str]] = {"image_feature": "image", "text_feature": "caption"}
    feature_key = "pooled image feature, sentence embedding"

    def __init__(self, config: Config, bases: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.config = config
        self.image_tower = Frozen(image_tower())
        self.text_tower = Frozen(text_tower())
        self.image_head = _head(ImageTower.width, config)
        self.text_head = _head(TextTower.width, config)
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / config.temperature)))

    @property
    def logit_scale(self) -> nn.Parameter:
        """Logarithm of the scale of the cosines, scalar."""
        return self.log_scale

    def frozen_features(self, batch: Batch) -> dict[str, Tensor]:
        """`image_feature` float32 [B, 1280] from `image`, `text_feature` float32 [B, 384] from `caption`."""
        features: dict[str, Tensor] = {}
        if "image" in batch:
            features["image_feature"] = self.image_input(batch["image"])
        if "caption" in batch:
            features["text_feature"] = self.text_input(batch["caption"])
        return features

    def embed_pairs(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Embeddings of images and captions from their frozen features, each float32 [B, D], rows of length 1."""
        return self.embed_image(batch["image_feature"]), self.embed_text(batch["text_feature"])

    def image_input(self, image: Tensor) -> Tensor:
        """float32 [B, 3, H, W] in [-1, 1] -> the image tower's pooled feature, float32 [B, 1280], without gradient."""
        return self.image_tower(image)

    def embed_image(self, x: Tensor) -> Tensor:
        """Pooled features float32 [B, 1280] -> float32 [B, D], rows of length 1."""
        return functional.normalize(self.image_head(x).float(), dim=-1)

    def text_input(self, captions: Sequence[str]) -> Tensor:
        """B captions -> the text tower's sentence embeddings, float32 [B, 384], without gradient."""
        return self.text_tower(captions)

    def embed_text(self, x: Tensor) -> Tensor:
        """Sentence embeddings float32 [B, 384] -> float32 [B, D], rows of length 1."""
        return functional.normalize(self.text_head(x).float(), dim=-1)

    def encode_image(self, image: Tensor) -> Tensor:
        """float32 [B, 3, H, W] in [-1, 1] -> float32 [B, D], rows of length 1."""
        return self.embed_image(self.image_input(image))

    def encode_text(self, captions: Sequence[str]) -> Tensor:
        """B captions -> float32 [B, D], rows of length 1."""
        return self.embed_text(self.text_input(captions))


def _head(width: int, config: Config) -> nn.Sequential:
    return nn.Sequential(nn.LayerNorm(width), nn.Dropout(config.dropout), nn.Linear(width, config.embed_dim))
