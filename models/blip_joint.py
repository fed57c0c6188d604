"""BLIP fine-tuned as a whole: one network that both captions and matches, trained by all three losses.

Source: Li et al. 2022, arXiv:2201.12086, section 4.4 and Table 4, "share parameters": captioner and filter of CapFilt
are fine-tuned end to end in the manner of pre-training. The paper compares it with two separate fine-tunes
(`models.blip_captioner`, `models.blip_matcher`) and finds that such a filter hardly rejects what it wrote itself. The
first two losses and how they differ: `models.shared.blip_alignment`. As in pre-training there is no prompt.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from models import Batch
from models.shared.blip import copy_of_pretrained
from models.shared.blip_alignment import Alignment, AlignmentConfig, encode_pairs
from models.shared.checks import require
from models.shared.decoding import Decoding
from models.shared.noise import seeded_by


@dataclass(frozen=True, kw_only=True, slots=True)
class Config(AlignmentConfig):
    """Settings: those of the first two losses, and what follows.

    Attributes:
        image_px: Side of the images, 0 for the pre-training's.
        label_smoothing: Of language modelling.
        max_tokens: Length that captions are cut to, first and last token counted.
    """

    image_px: int = 0
    label_smoothing: float = 0.1
    max_tokens: int = 40

    def __post_init__(self) -> None:
        AlignmentConfig.__post_init__(self)
        require(self.image_px >= 0, "image_px", self.image_px, "at least 0")
        require(0 <= self.label_smoothing < 1, "label_smoothing", self.label_smoothing, "in [0, 1)")
        require(3 <= self.max_tokens <= 512, "max_tokens", self.max_tokens, "in 3..512")


class Model(nn.Module):
    """See `models` for the methods. All of the network is trained.

    Attributes:
        feature_sources: What the frozen features that `batch_keys` may name are made of.
        feature_key: What they are, the same for all models with this network.
        base_role: The name of the pre-trained model among the bases.
    """

    feature_sources: ClassVar[dict[str, str]] = {"image_feature": "image"}
    base_role = "blip"

    def __init__(self, config: Config, bases: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.config = config
        self.network = copy_of_pretrained(bases, config.image_px)
        self.network.tokenizer.enable_truncation(config.max_tokens)
        self.alignment = Alignment(config, self.network)
        self.image_px = self.network.config.image_px
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
        """See `BlipNetwork.caption`. `decoding`: settings of `models.shared.decoding.Decoding`."""
        return self.network.caption(image, generators, "", Decoding.of(decoding))
