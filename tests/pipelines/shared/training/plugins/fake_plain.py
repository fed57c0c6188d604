"""An autoencoder with noise, dropout, a step count and a moving statistic: all that a resume can get wrong."""

from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    image_px: int = 8
    width: int = 6
    nan_at_step: int = -1


class Model(nn.Module):
    batch_keys = ("image", "caption", "group")

    def __init__(self, config, bases):
        super().__init__()
        assert not bases
        self.config = config
        self.image_px = config.image_px
        size = 3 * config.image_px**2
        self.encoder = nn.Linear(size, config.width)
        self.norm = nn.BatchNorm1d(config.width)
        self.decoder = nn.Linear(config.width, size)
        self.register_buffer("num_steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("seen", torch.zeros(3))

    def encode_image(self, image):
        return nn.functional.normalize(self.encoder(image.flatten(1)), dim=-1)

    def training_step(self, batch, generator):
        image = batch["image"].flatten(1)
        noise = 0.1 * torch.randn(image.shape, generator=generator, device=image.device)
        hidden = nn.functional.dropout(self.norm(self.encoder(image + noise)), 0.2, self.training)
        lengths = torch.tensor([float(len(text)) for text in batch["caption"]], device=image.device)
        loss = ((self.decoder(hidden) - image) ** 2).mean() + 1e-4 * (lengths * hidden[:, 0]).mean()
        self.seen += batch["image"].mean(dim=(0, 2, 3))
        if int(self.num_steps) == self.config.nan_at_step:
            loss = loss * float("nan")
        return {"main": loss, "main/length": lengths.mean()}

    def after_step(self):
        self.num_steps += 1
