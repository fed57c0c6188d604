"""A model that trains a head on features of a frozen picture part and a frozen text part; builds on a base if given."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from models.shared.frozen import Frozen


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    image_px: int = 8
    width: int = 6
    uses_base: bool = False


class Model(nn.Module):
    batch_keys = ("image_feature", "text_feature", "caption")
    feature_sources: ClassVar = {"image_feature": "image", "text_feature": "caption", "unused": "image"}
    base_role = "below"
    calls: ClassVar = []

    def __init__(self, config, bases):
        super().__init__()
        self.config = config
        self.image_px = config.image_px
        assert set(bases) == ({"below"} if config.uses_base else set())
        self.below = Frozen(bases["below"] if bases else nn.Linear(3 * config.image_px**2, config.width))
        if not bases:
            nn.init.constant_(self.below.module.weight, 0.01)
        self.head = nn.Linear(config.width, config.width)
        self.tied = self.head

    def image_part(self, image):
        if self.config.uses_base:
            return self.below.module.encode_image(image)
        return self.below(image.flatten(1))

    def frozen_features(self, batch):
        assert not self.training and not torch.is_grad_enabled()
        Model.calls.append(sorted(batch))
        features = {}
        if "image" in batch:
            features |= {"image_feature": self.image_part(batch["image"]), "unused": batch["image"]}
        if "caption" in batch:
            lengths = torch.tensor([float(len(text)) for text in batch["caption"]])
            features["text_feature"] = lengths[:, None].expand(-1, self.config.width)
        return features

    def training_step(self, batch, generator):
        assert torch.equal(batch["text_feature"][:, 0], torch.tensor([float(len(t)) for t in batch["caption"]]))
        return {"main": (self.head(batch["image_feature"]) - batch["text_feature"]).pow(2).mean()}
