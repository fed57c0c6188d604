"""Evidence that comes in pairs: what belongs together must have one shape."""

import torch
from torch import Tensor

from metrics.shared.metric import EvidenceMetric


def append_pairs(metric: EvidenceMetric, images: Tensor, texts: Tensor, owner: Tensor) -> None:
    """Adds (image, caption) pairs to the states `pair_image_embeddings`, `pair_text_embeddings` and `pair_owner`.

    Args:
        metric: Keeps these states.
        images: float32 [k, d], of any length.
        texts: float32 [k, d], of any length.
        owner: int64 [k], the test sample of each pair.
    """
    assert images.ndim == 2 and images.shape == texts.shape, (
        f"pairs must be two of [k, d], got {tuple(images.shape)} and {tuple(texts.shape)}"
    )
    assert owner.shape == images.shape[:1], f"pair_owner must be [k], got {tuple(owner.shape)}"
    metric.append("pair_image_embeddings", images, torch.float32)
    metric.append("pair_text_embeddings", texts, torch.float32)
    metric.append("pair_owner", owner, torch.int64)


def check_reconstructions(images: Tensor, reconstructions: Tensor) -> None:
    """Images and their reconstructions must be uint8 [n, 3, h, w] of one shape."""
    assert images.dtype == reconstructions.dtype == torch.uint8 and images.shape == reconstructions.shape, (
        f"images and reconstructions must be uint8 of one shape, got {images.dtype} {tuple(images.shape)}, "
        f"{reconstructions.dtype} {tuple(reconstructions.shape)}"
    )
