"""Motion and cuts in clips: stills, slide shows and jumping edits told from what moves.

Sources: motion as a mean absolute difference of grey pixels, in place of the optical flow of Data-Juicer's filter (Chen
et al. 2023, arXiv:2309.02033), whose 2 frames a second it keeps as the default step; cuts where neighbouring frames
differ by much, and by much more than the frames around them do, as in PySceneDetect's content and adaptive detectors.

Differs from both: frames are first reduced by averaging, which drops grain and makes sizes comparable; pixels are
compared in RGB and not in HSV, whose hue is noise where there is no colour. Of a clip of more than `num_frames` frames
neighbours are further apart: a cut is still seen, but its place is not told, and two within one step are one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from pipelines.annotators import FRAME_COUNTS, AnnotatorInput

WINDOW = 2  # neighbouring differences on each side that a cut is compared with


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Settings.

    Attributes:
        num_frames: Most frames that are looked at, one of 3, 5, 9, 17, 33, 65, 129, 257; all are in memory at once.
        step_sec: Time between the frames that motion compares, above 0; the nearest that there is.
        cut_threshold: Mean absolute difference of two frames from which they may be a cut, in (0, 255].
        cut_ratio: How many times the mean difference around them that must also be, at least 1.
        max_side_px: Longer side to which larger frames are reduced, at least 8.
    """

    num_frames: int = 65
    step_sec: float = 0.5
    cut_threshold: float = 27.0
    cut_ratio: float = 3.0
    max_side_px: int = 64

    def __post_init__(self) -> None:
        if self.num_frames not in FRAME_COUNTS:
            raise ValueError(f"num_frames must be one of {', '.join(map(str, FRAME_COUNTS))}, got {self.num_frames}")
        if not self.step_sec > 0:
            raise ValueError(f"step_sec must be above 0, got {self.step_sec}")
        if not 0 < self.cut_threshold <= 255:
            raise ValueError(f"cut_threshold must be in (0, 255], got {self.cut_threshold}")
        if not self.cut_ratio >= 1:
            raise ValueError(f"cut_ratio must be at least 1, got {self.cut_ratio}")
        if self.max_side_px < 8:
            raise ValueError(f"max_side_px must be at least 8, got {self.max_side_px}")


class Annotator:
    """Facts per sample; all 0 for a picture. The length of a clip is the crawl's fact `duration_sec`.

    Columns: `frames_per_sec`; `motion` (mean absolute difference of grey levels over the step, in [0, 255]);
    `num_cuts`.
    """

    columns: ClassVar[dict[str, str]] = {"frames_per_sec": "float64", "motion": "float64", "num_cuts": "int32"}
    batch_size = 1

    def __init__(self, config: Config) -> None:
        self.config = config
        self.num_frames = config.num_frames

    def annotate(self, samples: Sequence[AnnotatorInput]) -> list[dict[str, Any]]:
        """Motion and cuts of each sample."""
        return [self._facts(sample) for sample in samples]

    def _facts(self, sample: AnnotatorInput) -> dict[str, Any]:
        duration_sec = sample.facts.get("duration_sec") or 0.0
        if len(sample.frames) < 2 or not duration_sec:
            return {"frames_per_sec": 0.0, "motion": 0.0, "num_cuts": 0}
        config = self.config
        total = sample.facts["num_frames"]
        frames = [reduced(frame, config.max_side_px) for frame in sample.frames]
        gap_sec = duration_sec / total * (total - 1) / (len(frames) - 1)
        stride = min(max(round(config.step_sec / gap_sec), 1), len(frames) - 1)
        grey = np.stack([np.asarray(frame.convert("L"), dtype=np.float32) for frame in frames])
        colours = np.stack([np.asarray(frame, dtype=np.float32) for frame in frames])
        differences = np.abs(np.diff(colours, axis=0)).mean(axis=(1, 2, 3), dtype=np.float64)
        return {
            "frames_per_sec": round(total / duration_sec, 3),
            "motion": float(np.abs(grey[stride:] - grey[:-stride]).mean(dtype=np.float64)),
            "num_cuts": count_cuts(differences, config.cut_threshold, config.cut_ratio),
        }


def reduced(frame: Image.Image, max_side_px: int) -> Image.Image:
    """A frame whose longer side is at most so long, by averaging."""
    small = frame.copy()
    small.thumbnail((max_side_px, max_side_px), Image.Resampling.BOX)
    return small


def count_cuts(differences: np.ndarray, threshold: float, ratio: float) -> int:
    """How many of the differences float64 [F - 1] between neighbouring frames are cuts."""
    count = 0
    for index, value in enumerate(differences):
        around = [*differences[max(index - WINDOW, 0) : index], *differences[index + 1 : index + 1 + WINDOW]]
        count += bool(value >= threshold and (not around or value >= ratio * np.mean(around)))
    return count
