"""BLIP pre-training: image-text contrast, image-text matching and language modelling over one network.

Source: Li et al. 2022, arXiv:2201.12086, section 3.2. The loss is the plain sum of the three. Network and differences
from the paper: `models.shared.blip`; the first two losses: `models.shared.blip_alignment`; language modelling is
next-token cross-entropy with label smoothing 0.1 (as released).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from models import Batch
from models.shared.blip import BlipNetwork
from models.shared.blip_alignment import Alignment, AlignmentConfig, encode_pairs
from models.shared.blip_checkpoint import load_hugging_face
from models.shared.blip_config import NetworkConfig
from models.shared.checks import require
from models.shared.decoding import Decoding
from models.shared.noise import seeded_by


@dataclass(frozen=True, kw_only=True, slots=True)
class Config(NetworkConfig, AlignmentConfig):
    """Settings: the network's sizes, those of the first two losses, and what follows.

    Attributes:
        label_smoothing: Of language modelling.
        weights: Published checkpoint to start from (safetensors in Hugging Face's format); empty: none. A checkpoint
            of a captioner or of a matcher brings its own half, see `models.shared.blip_checkpoint`.
        weights_sha256: Digest of that file.
    """

    label_smoothing: float = 0.1
    weights: str = ""
    weights_sha256: str = ""

    def __post_init__(self) -> None:
        NetworkConfig.__post_init__(self)
        AlignmentConfig.__post_init__(self)
        require(0 <= self.label_smoothing < 1, "label_smoothing", self.label_smoothing, "in [0, 1)")
        given = bool(self.weights) == bool(self.weights_sha256)
        require(given, "weights_sha256", self.weights_sha256, "given if and only if weights is")


class Model(nn.Module):
    """See `models` for the methods.

    Attributes:
        feature_sources: What the frozen features that `batch_keys` may name are made of.
        feature_key: What they are, the same for all models with this network.
    """

    feature_sources: ClassVar[dict[str, str]] = {"image_feature": "image"}

    def __init__(self, config: Config, bases: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.config = config
        self.network = BlipNetwork(config)
        if config.weights:
            load_hugging_face(self.network, Path(config.weights), config.weights_sha256)
        self.alignment = Alignment(config, self.network)
        self.image_px = config.image_px
        self.batch_keys = (self.network.image_key, "caption", "group")
        self.feature_key = self.network.feature_key

    def frozen_features(self, batch: Batch) -> dict[str, Tensor]:
        """See `BlipNetwork.frozen_features`; nothing with a ViT."""
        return self.network.frozen_features(batch)

    def training_step(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """The three losses (terms `main/itc`, `main/itm`, `main/lm`) and their sum."""
        with seeded_by(generator, self.network.device):
            pairs = encode_pairs(self.network, batch)
            itc, itm = self.alignment.losses(self.network, pairs, generator)
            lm = self.network.language_loss(
                pairs.tokens, pairs.mask, pairs.decoder_memory, label_smoothing=self.config.label_smoothing
            )
        terms = {"main/itc": itc.detach(), "main/itm": itm.detach(), "main/lm": lm.detach()}
        return {"main": itc + itm + lm, **terms}

    def after_step(self) -> None:
        """Momentum update and the rest of the bookkeeping."""
        self.alignment.after_step(self.network)

    def encode_image(self, image: Tensor) -> Tensor:
        """See `BlipNetwork.encode_image`."""
        return self.network.encode_image(image)

    def encode_text(self, captions: Sequence[str]) -> Tensor:
        """See `BlipNetwork.encode_text`."""
        return self.network.encode_text(captions)

    def match(self, image: Tensor, captions: Sequence[str], owners: Tensor | None = None) -> Tensor:
        """See `BlipNetwork.match`."""
        return self.network.match(image, captions, owners)

    def caption(self, image: Tensor, generators: Sequence[torch.Generator], **decoding: Any) -> list[str]:
        """See `BlipNetwork.caption`; pre-training has no prompt. `decoding`: settings of `Decoding`."""
        return self.network.caption(image, generators, "", Decoding.of(decoding))
