"""CLIP score: 100 times the cosine between the embeddings of a picture and of each of its captions.

Source: Hessel et al. 2021, arXiv:2104.08718; as a filter Schuhmann et al. 2022 (LAION-5B, arXiv:2210.08402) and Gadre
et al. 2023 (DataComp, arXiv:2304.14108). Differs from CLIPScore: not scaled by 2.5 and not cut at 0, as the two data
sets have it. Of a clip the middle frame is scored.

Architectures are open_clip's, by name; weights are a local safetensors file whose sha256 is part of the settings, so
that the settings stand for the scores. Nothing is fetched. A model is loaded once per process, on first use, and kept;
Beam's RunInference would do the same, but it takes one element per picture, so pixels would cross its shuffle, and it
cuts batches by the clock. Scores are rounded to 4 decimals, which hides most of what kernels of different CPUs make
different.
"""

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.annotators import AnnotatorInput
from pipelines.shared.files import digest_file

SHA256 = re.compile(r"[0-9a-f]{64}")
COLUMN = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Settings.

    Attributes:
        model: One of `open_clip.list_models()`, such as `ViT-B-32`.
        weights: Path of a safetensors file.
        sha256: Digest of that file, 64 hex digits.
        column: Name of the column, so that several models can stand side by side.
        batch_size: Pictures at a time.
        device: A torch device; it must be there, nothing falls back to the CPU.
    """

    model: str
    weights: str
    sha256: str
    column: str = "clip_score"
    batch_size: int = 64
    device: str = "cpu"

    def __post_init__(self) -> None:
        if not self.weights.endswith(".safetensors"):
            raise ValueError(f"weights must be a .safetensors file, got {self.weights}")
        if not SHA256.fullmatch(self.sha256):
            raise ValueError(f"sha256 must be 64 lower-case hex digits, got {self.sha256!r}")
        if not COLUMN.fullmatch(self.column):
            raise ValueError(f"column must match {COLUMN.pattern}, got {self.column!r}")
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}")


class Annotator:
    """Column: `clip_score` (or as named), per caption, in [-100, 100]."""

    def __init__(self, config: Config) -> None:
        if not Path(config.weights).is_file():
            raise ValueError(f"weights: {config.weights} does not exist")
        self.config = config
        self.columns = {config.column: "list<float64>"}
        self.batch_size = config.batch_size

    def annotate(self, samples: Sequence[AnnotatorInput]) -> list[dict[str, Any]]:
        """Scores of each sample's captions."""
        import torch

        model, preprocess, tokenizer = load_model(self.config)
        texts = [caption.text for sample in samples for caption in sample.captions]
        if not texts:
            return [{self.config.column: []} for _ in samples]
        owners = [row for row, sample in enumerate(samples) for _ in sample.captions]
        with torch.inference_mode():
            pictures = torch.stack([preprocess(sample.image) for sample in samples]).to(self.config.device)
            image_features = model.encode_image(pictures, normalize=True)
            text_features = model.encode_text(tokenizer(texts).to(self.config.device), normalize=True)
            cosine = (image_features[owners] * text_features).sum(dim=1).double().cpu()
        scores: list[list[float]] = [[] for _ in samples]
        for owner, value in zip(owners, cosine.tolist(), strict=True):
            scores[owner].append(round(100 * value, 4))
        return [{self.config.column: own} for own in scores]


@functools.cache
def load_model(config: Config) -> tuple[Any, Any, Any]:
    """The model in evaluation mode, its preprocessing and its tokenizer; once per process.

    Raises:
        ValueError: The architecture is unknown, the file is not the one of the settings, or it does not fit.
    """
    import open_clip

    if config.model not in open_clip.list_models():
        raise ValueError(f"model: open_clip has no {config.model!r}; see open_clip.list_models()")
    if (found := digest_file(Path(config.weights))) != config.sha256:
        raise ValueError(f"weights: {config.weights} has sha256 {found}, the settings say {config.sha256}")
    try:
        model, _, preprocess = open_clip.create_model_and_transforms(
            config.model, pretrained=config.weights, device=config.device, pretrained_text=False
        )
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"weights: {config.weights} does not fit {config.model}: {error}") from error
    return model.eval(), preprocess, open_clip.get_tokenizer(config.model)
