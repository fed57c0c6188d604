"""Statistics of pixels: what tells flat, blurred, dark or colourless pictures from the others.

Sources: entropy (Shannon 1948) of the grey histogram; sharpness as the variance of the Laplacian (Pech-Pacheco et al.
2000, "Diatom autofocusing in brightfield microscopy"); colourfulness (Hasler and Suesstrunk 2003, "Measuring
colourfulness in natural images"). Differs from the papers: a large picture is first reduced by averaging to
`max_side_px`, which bounds the time and makes the sharpness of large and small copies comparable. Width and height are
the crawl's facts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from PIL import Image

from pipelines.annotators import AnnotatorInput


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Settings.

    Attributes:
        max_side_px: Longer side to which larger pictures are reduced before measuring, at least 16.
    """

    max_side_px: int = 512

    def __post_init__(self) -> None:
        if self.max_side_px < 16:
            raise ValueError(f"max_side_px must be at least 16, got {self.max_side_px}")


class Annotator:
    """Statistics per sample.

    Columns: `aspect` (longer over shorter side, >= 1); `entropy_bits` in [0, 8]; `sharpness` (>= 0, grey levels
    squared); `mean_red`, `mean_green`, `mean_blue` and `brightness` (mean grey) in [0, 255]; `colourfulness` (>= 0).
    """

    columns: ClassVar[dict[str, str]] = {
        "aspect": "float64",
        "entropy_bits": "float64",
        "sharpness": "float64",
        "brightness": "float64",
        "mean_red": "float64",
        "mean_green": "float64",
        "mean_blue": "float64",
        "colourfulness": "float64",
    }
    batch_size = 1

    def __init__(self, config: Config) -> None:
        self.config = config

    def annotate(self, samples: Sequence[AnnotatorInput]) -> list[dict[str, float]]:
        """Statistics of each sample's picture or middle frame."""
        return [self._statistics(sample.image) for sample in samples]

    def _statistics(self, image: Image.Image) -> dict[str, float]:
        reduced = image.copy()
        reduced.thumbnail((self.config.max_side_px, self.config.max_side_px), Image.Resampling.BOX)
        grey = reduced.convert("L")
        red, green, blue = (channel.astype(np.float64) for channel in np.moveaxis(np.asarray(reduced), 2, 0))
        return {
            "aspect": max(image.size) / min(image.size),
            "entropy_bits": max(grey.entropy(), 0.0),
            "sharpness": laplacian_variance(np.asarray(grey)),
            "brightness": float(np.asarray(grey).mean()),
            "mean_red": float(red.mean()),
            "mean_green": float(green.mean()),
            "mean_blue": float(blue.mean()),
            "colourfulness": colourfulness(red, green, blue),
        }


def laplacian_variance(grey: np.ndarray) -> float:
    """Variance of the 4-neighbour Laplacian of uint8 [H, W], edges repeated."""
    padded = np.pad(grey.astype(np.int32), 1, mode="edge")
    neighbours = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]
    return float((neighbours - 4 * padded[1:-1, 1:-1]).var())


def colourfulness(red: np.ndarray, green: np.ndarray, blue: np.ndarray) -> float:
    """Hasler and Suesstrunk's M^(3) of float64 [H, W] channels in [0, 255]; 0 for grey pictures."""
    red_green = red - green
    yellow_blue = (red + green) / 2 - blue
    spread = np.hypot(red_green.std(), yellow_blue.std())
    return float(spread + 0.3 * np.hypot(red_green.mean(), yellow_blue.mean()))
