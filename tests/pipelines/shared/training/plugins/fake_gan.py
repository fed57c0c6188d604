"""Two optimizer groups whose losses share a graph."""

from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    image_px: int = 8


class Model(nn.Module):
    batch_keys = ("image",)

    def __init__(self, config, bases):
        super().__init__()
        self.image_px = config.image_px
        size = 3 * config.image_px**2
        self.generator = nn.Linear(size, size)
        self.discriminator = nn.Linear(size, 1)

    def parameter_groups(self):
        return {"generator": list(self.generator.parameters()), "discriminator": list(self.discriminator.parameters())}

    def training_step(self, batch, generator):
        real = batch["image"].flatten(1)
        fake = self.generator(real + torch.randn(real.shape, generator=generator))
        score = self.discriminator(fake)
        return {"generator": (fake - real).pow(2).mean() - score.mean(), "discriminator": score.pow(2).mean()}
