"""CLIP score: 100 times the cosine between the embeddings of a picture and of each of its captions.

Source: Hessel et al. 2021, arXiv:2104.08718; as a filter Schuhmann et al. 2022 (LAION-5B, arXiv:2210.08402) and Gadre
et al. 2023 (DataComp, arXiv:2304.14108). Differs from CLIPScore: not scaled by 2.5 and not cut at 0, as the two data
sets have it. Of a clip the middle frame is scored. Scores are rounded to 4 decimals, which hides most of what kernels
of different CPUs make different.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.annotators import AnnotatorInput
from pipelines.shared.clip_models import check_model_settings, check_weights, load_clip, require_file


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Settings.

    Attributes:
        model: One of `open_clip.list_models()`, such as `ViT-B-32`.
        weights: Path of a safetensors file.
        sha256: Digest of that file, 64 hex digits.
        column: Name of the column, so that several models can stand side by side.
        batch_size: Pictures at a time.
        device: `auto`, `cpu` or `cuda`.
    """

    model: str
    weights: str
    sha256: str
    column: str = "clip_score"
    batch_size: int = 64
    device: str = "cpu"

    def __post_init__(self) -> None:
        check_weights(self.weights, self.sha256)
        check_model_settings(self.column, self.batch_size, self.device)


class Annotator:
    """Column: `clip_score` (or as named), per caption, in [-100, 100]."""

    def __init__(self, config: Config) -> None:
        require_file("weights", config.weights)
        self.config = config
        self.columns = {config.column: "list<float64>"}
        self.batch_size = config.batch_size

    def files(self) -> tuple[Path, ...]:
        """The weights."""
        return (Path(self.config.weights),)

    def load(self) -> None:
        """Load the model."""
        config = self.config
        load_clip(config.model, config.weights, config.sha256, config.device)

    def annotate(self, samples: Sequence[AnnotatorInput]) -> list[dict[str, Any]]:
        """Scores of each sample's captions."""
        texts = [caption.text for sample in samples for caption in sample.captions]
        if not texts:
            return [{self.config.column: []} for _ in samples]
        owners = [row for row, sample in enumerate(samples) for _ in sample.captions]
        config = self.config
        clip = load_clip(config.model, config.weights, config.sha256, config.device)
        images = clip.encode_images([sample.image for sample in samples])
        cosine = (images[owners] * clip.encode_texts(texts)).sum(dim=1).double().cpu()
        scores: list[list[float]] = [[] for _ in samples]
        for owner, value in zip(owners, cosine.tolist(), strict=True):
            scores[owner].append(round(100 * value, 4))
        return [{config.column: own} for own in scores]
