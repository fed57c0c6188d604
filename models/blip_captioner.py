"""BLIP's captioner: the image-grounded decoder of a pre-trained BLIP, fine-tuned by language modelling.

Source: Li et al. 2022, arXiv:2201.12086, section 3.3 (the captioner of CapFilt) and 4.2. As released, every caption
follows the prompt "a picture of ", which is not scored in training and not part of what `caption` returns.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from models import Batch
from models.shared.blip import copy_of_pretrained
from models.shared.checks import require
from models.shared.decoding import Decoding
from models.shared.noise import seeded_by


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Settings.

    Attributes:
        prompt: What every caption continues; may be empty.
        image_px: Side of the images, 0 for the pre-training's.
        label_smoothing: Of language modelling.
        max_tokens: Length that captions with their prompt are cut to, first and last token counted.
    """

    prompt: str = "a picture of "
    image_px: int = 0
    label_smoothing: float = 0.1
    max_tokens: int = 40

    def __post_init__(self) -> None:
        require(self.image_px >= 0, "image_px", self.image_px, "at least 0")
        require(0 <= self.label_smoothing < 1, "label_smoothing", self.label_smoothing, "in [0, 1)")
        require(3 <= self.max_tokens <= 512, "max_tokens", self.max_tokens, "in 3..512")


class Model(nn.Module):
    """See `models` for the methods. What the decoder does not use is frozen.

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
        self.network.freeze_unused(by_decoder=True)
        self.image_px = self.network.config.image_px
        self.batch_keys = (self.network.image_key, "caption")
        self.feature_key = self.network.feature_key
        self.num_prompt_tokens = len(self.network.prompt_tokens(config.prompt)) - 1

    def frozen_features(self, batch: Batch) -> dict[str, Tensor]:
        """See `BlipNetwork.frozen_features`; nothing with a ViT."""
        return self.network.frozen_features(batch)

    def training_step(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Cross-entropy of the words after the prompt."""
        with seeded_by(generator, self.network.device):
            _, memory = self.network.med.memories(self.network.image_states(batch))
            tokens, mask = self.network.tokenize([self.config.prompt + caption for caption in batch["caption"]])
            loss = self.network.language_loss(
                tokens, mask, memory, self.num_prompt_tokens, label_smoothing=self.config.label_smoothing
            )
        return {"main": loss}

    def caption(self, image: Tensor, generators: Sequence[torch.Generator], **decoding: Any) -> list[str]:
        """See `BlipNetwork.caption`. `decoding`: settings of `models.shared.decoding.Decoding`."""
        return self.network.caption(image, generators, self.config.prompt, Decoding.of(decoding))
