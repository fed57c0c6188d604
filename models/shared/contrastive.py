"""The symmetric contrastive loss over all pairs of a batch, and what its models share.

Source: Radford et al. 2021 (CLIP), arXiv:2103.00020, section 2.3 and figure 3: cross-entropy over the rows and over the
columns of the matrix of scaled cosines, averaged; the scale is learned as a logarithm and never exceeds 100.

Repeated captions of a batch need no care: equal captions have equal embeddings, and then targets that are spread over
all pairs with that caption give the same loss and the same gradients as one target per pair. The same holds for
repeated images. (It does not hold for BLIP's momentum features and queue, where targets are spread.)
"""

import math
from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional

from models import Batch
from models.shared.noise import seeded_by

MAX_LOGIT_SCALE = math.log(100)


@runtime_checkable
class DualEncoder(Protocol):
    """Two towers that meet in one space, with a seam where a tower's frozen part ends: what a video model builds on.

    Attributes:
        image_px: Side of the images.
        feature_sources: Frozen features by name, and what they are made of; empty if no tower has a frozen part.
    """

    image_px: int
    feature_sources: Mapping[str, str]

    @property
    def logit_scale(self) -> nn.Parameter:
        """Logarithm of the scale of the cosines, scalar."""
        ...

    def image_input(self, image: Tensor) -> Tensor:
        """What `embed_image` takes, [B, ...]: the frozen part's features of the images, or the images themselves."""
        ...

    def embed_image(self, x: Tensor) -> Tensor:
        """float32 [B, D], rows of length 1."""
        ...

    def text_input(self, captions: Sequence[str]) -> Tensor:
        """What `embed_text` takes, [B, ...]: the frozen part's features of the captions, or their token ids."""
        ...

    def embed_text(self, x: Tensor) -> Tensor:
        """float32 [B, D], rows of length 1."""
        ...


class ContrastiveModel(nn.Module):
    """Training with the contrastive loss; a subclass brings `embed_pairs` and `logit_scale`."""

    @property
    def logit_scale(self) -> nn.Parameter:
        """Logarithm of the scale of the cosines, scalar."""
        raise NotImplementedError

    def embed_pairs(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Embeddings of what is seen and of the captions, each float32 [B, D], rows of length 1."""
        raise NotImplementedError

    def embed(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """The pairs' embeddings `visual` and `text`, each float32 [B, D], rows of length 1."""
        with seeded_by(generator, self.logit_scale.device):
            visual, text = self.embed_pairs(batch)
        return {"visual": visual, "text": text}

    def contrastive_loss(self, embeddings: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The loss from the embeddings of the whole batch; term `main/temperature`, one over the scale."""
        scale = self.logit_scale.exp()
        loss = symmetric_loss(embeddings["visual"], embeddings["text"], scale)
        return {"main": loss, "main/temperature": 1 / scale.detach()}

    def training_step(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """The loss of a batch on its own."""
        return self.contrastive_loss(self.embed(batch, generator))

    @torch.no_grad()
    def after_step(self) -> None:
        """Keeps the scale within [1, 100]."""
        self.logit_scale.clamp_(0, MAX_LOGIT_SCALE)


def symmetric_loss(visual: Tensor, text: Tensor, scale: Tensor) -> Tensor:
    """Mean of the cross-entropies over texts for each image and over images for each text.

    Args:
        visual: float32 [B, D], rows of length 1; row i belongs to row i of `text`.
        text: float32 [B, D], rows of length 1.
        scale: Scalar that multiplies the cosines.
    """
    logits = scale * visual @ text.T
    target = torch.arange(len(logits), device=logits.device)
    return (functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)) / 2
