"""Frame-text score: 100 times the cosine between a caption and the frames of its clip, put together over the frames.

Source: Data-Juicer's similarity of frames and text (Chen et al. 2023, arXiv:2309.02033), with CLIP (Radford et al.
2021, arXiv:2103.00020). Differs from it: frames are evenly spaced and not a codec's key frames, which are where an
encoder put them. Of a picture it is the CLIP score.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pipelines.annotators import FRAME_COUNTS, AnnotatorInput
from pipelines.shared.clip_models import check_model_settings, check_weights, load_clip, require_file


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Settings.

    Attributes:
        model: One of `open_clip.list_models()`, such as `ViT-B-32`.
        weights: Path of a safetensors file.
        sha256: Digest of that file, 64 hex digits.
        num_frames: Most frames of a clip, one of 3, 5, 9, 17, 33, 65, 129, 257.
        reduce: What becomes of the cosines of all frames: their `mean`, `min` or `max`.
        column: Name of the column, so that several models can stand side by side.
        device: `auto`, `cpu` or `cuda`.
    """

    model: str
    weights: str
    sha256: str
    num_frames: int = 9
    reduce: Literal["mean", "min", "max"] = "mean"
    column: str = "frame_text_score"
    device: str = "cpu"

    def __post_init__(self) -> None:
        check_weights(self.weights, self.sha256)
        check_model_settings(self.column, 1, self.device)
        if self.num_frames not in FRAME_COUNTS:
            raise ValueError(f"num_frames must be one of {', '.join(map(str, FRAME_COUNTS))}, got {self.num_frames}")


class Annotator:
    """Column: `frame_text_score` (or as named), per caption, in [-100, 100]."""

    batch_size = 1

    def __init__(self, config: Config) -> None:
        require_file("weights", config.weights)
        self.config = config
        self.columns = {config.column: "list<float64>"}
        self.num_frames = config.num_frames

    def files(self) -> tuple[Path, ...]:
        """The weights."""
        return (Path(self.config.weights),)

    def load(self) -> None:
        """Load the model."""
        config = self.config
        load_clip(config.model, config.weights, config.sha256, config.device)

    def annotate(self, samples: Sequence[AnnotatorInput]) -> list[dict[str, Any]]:
        """Scores of each sample's captions; the frames of a clip are a batch."""
        return [{self.config.column: self._scores(sample)} for sample in samples]

    def _scores(self, sample: AnnotatorInput) -> list[float]:
        if not sample.captions:
            return []
        config = self.config
        clip = load_clip(config.model, config.weights, config.sha256, config.device)
        frames = clip.encode_images(sample.frames or [sample.image])
        cosine = (clip.encode_texts([caption.text for caption in sample.captions]) @ frames.T).double().cpu().numpy()
        return [round(100 * float(value), 4) for value in getattr(cosine, config.reduce)(axis=1)]
