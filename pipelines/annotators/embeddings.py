"""Embeddings of pictures and captions by the packaged towers, for near duplicates, clusters and searches.

Sources: EfficientNet-Lite0's pooled feature (Tan and Le 2019, arXiv:1905.11946) and all-MiniLM-L6-v2 (Wang et al. 2020,
arXiv:2002.10957; sentence-transformers); `models/shared/packaged.py` tells of their weights. The two do not share a
space: pictures compare with pictures, captions with captions. A vector is the bytes of its float16 numbers, little
endian, its length 1 to three digits: what `embedding_duplicates` of a filter reads, in half the space of float32. Of a
clip the middle frame is taken.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PIL import Image

from pipelines.annotators import AnnotatorInput
from pipelines.shared.towers import load_image_tower, load_text_tower

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Settings.

    Attributes:
        images: Whether pictures get a vector.
        captions: Whether captions get one.
    """

    images: bool = True
    captions: bool = True

    def __post_init__(self) -> None:
        if not (self.images or self.captions):
            raise ValueError("images and captions are both false: one of them must be true")


class Annotator:
    """Columns: `image_embedding` (1280 numbers) per sample, `caption_embedding` (384 numbers) per caption."""

    batch_size = 1

    def __init__(self, config: Config) -> None:
        self.config = config
        self.columns = {"image_embedding": "binary"} if config.images else {}
        if config.captions:
            self.columns["caption_embedding"] = "list<binary>"

    def load(self) -> None:
        """Load the towers."""
        if self.config.images:
            load_image_tower()
        if self.config.captions:
            load_text_tower()

    def annotate(self, samples: Sequence[AnnotatorInput]) -> list[dict[str, Any]]:
        """Vectors of each sample; one sample after another, so that no bit of them depends on the batch."""
        return [self._vectors(sample) for sample in samples]

    def _vectors(self, sample: AnnotatorInput) -> dict[str, Any]:
        row: dict[str, Any] = {}
        if self.config.images:
            row["image_embedding"] = embed_image(sample.image)
        if self.config.captions:
            row["caption_embedding"] = embed_texts([caption.text for caption in sample.captions])
        return row


def embed_image(image: Image.Image) -> bytes:
    """An RGB picture's vector, of its middle square."""
    import torch
    from torch.nn import functional

    from pipelines.shared.pixels import square, to_float

    tower = load_image_tower()
    pixels = to_float(torch.from_numpy(square(image, tower.image_px)).permute(2, 0, 1)[None])
    with torch.no_grad():
        return to_bytes(functional.normalize(tower(pixels), dim=1))[0]


def embed_texts(texts: Sequence[str]) -> list[bytes]:
    """Vectors of texts."""
    import torch

    if not texts:
        return []
    with torch.no_grad():
        return to_bytes(load_text_tower()(texts))


def to_bytes(vectors: "Tensor") -> list[bytes]:
    """The rows of float32 [N, D] as bytes of float16."""
    return [row.tobytes() for row in vectors.numpy().astype("<f2")]
