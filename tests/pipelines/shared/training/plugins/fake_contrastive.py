"""A dual encoder with a learned scale and dropout."""

from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    image_px: int = 8
    width: int = 6
    dropout: float = 0.1


class Model(nn.Module):
    batch_keys = ("image", "caption", "group")

    def __init__(self, config, bases):
        super().__init__()
        self.config = config
        self.image_px = config.image_px
        self.image = nn.Linear(3 * config.image_px**2, config.width)
        self.text = nn.Embedding(256, config.width)
        self.scale = nn.Parameter(torch.tensor(1.0))

    def encode_text(self, captions):
        rows = [self.text(torch.tensor(list(text.encode()), device=self.scale.device)).mean(0) for text in captions]
        return nn.functional.normalize(torch.stack(rows), dim=-1)

    def embed(self, batch, generator):
        image = nn.functional.dropout(self.image(batch["image"].flatten(1)), self.config.dropout, self.training)
        image = image + 0.1 * torch.randn(image.shape, generator=generator, device=image.device)
        image = nn.functional.normalize(image, dim=-1)
        return {"image": image, "text": self.encode_text(batch["caption"]), "group": batch["group"]}

    def contrastive_loss(self, embeddings):
        assert len(set(embeddings["group"].tolist())) == len(embeddings["group"])
        logits = self.scale.exp() * embeddings["image"] @ embeddings["text"].T
        target = torch.arange(len(logits), device=logits.device)
        loss = nn.functional.cross_entropy(logits, target) + nn.functional.cross_entropy(logits.T, target)
        return {"main": loss, "main/accuracy": (logits.argmax(1) == target).float().mean()}

    def training_step(self, batch, generator):
        return self.contrastive_loss(self.embed(batch, generator))
