"""How a picture is laid out: flat borders, contrast, saturation and its dominant colours.

Sources: the colour histogram (Swain and Ballard 1991, "Color indexing") for dominant colours; contrast as the standard
deviation of the grey pixels (Peli 1990, "Contrast in complex images", root mean square); saturation of HSV (Smith 1978,
"Color gamut transform pairs"). A border is what letterboxing and product shots have: lines along a side in which no
pixel differs from the picture's corner by more than a tolerance.

Differs from k-means and median cut: the cells of the histogram are fixed, 8 levels of each channel, so that the colours
of two pictures compare and nothing is drawn or iterated; a colour is the mean of the pixels in its cell. A large
picture is first reduced by averaging to `max_side_px`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from pipelines.annotators import AnnotatorInput

LEVEL_BITS = 3
NUM_CELLS = 2 ** (3 * LEVEL_BITS)


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Settings.

    Attributes:
        border_tolerance: Most levels by which a channel of a border's pixel differs from the corner, in [0, 255].
        num_colours: Most dominant colours, in [1, 512].
        max_side_px: Longer side to which larger pictures are reduced before measuring, at least 16.
    """

    border_tolerance: int = 12
    num_colours: int = 3
    max_side_px: int = 512

    def __post_init__(self) -> None:
        if not 0 <= self.border_tolerance <= 255:
            raise ValueError(f"border_tolerance must be in [0, 255], got {self.border_tolerance}")
        if not 1 <= self.num_colours <= NUM_CELLS:
            raise ValueError(f"num_colours must be in [1, {NUM_CELLS}], got {self.num_colours}")
        if self.max_side_px < 16:
            raise ValueError(f"max_side_px must be at least 16, got {self.max_side_px}")


class Annotator:
    """Facts per sample, of the picture or a clip's middle frame.

    Columns: `border_frac` (share of the area that is border, 1 for a flat picture); `contrast` in [0, 127.5];
    `saturation` (mean over pixels) in [0, 1]; `dominant_colours` (`#rrggbb`, most frequent first, by spaces);
    `dominant_colour_frac` (share of the pixels in the cell of the first of them).
    """

    columns: ClassVar[dict[str, str]] = {
        "border_frac": "float64",
        "contrast": "float64",
        "saturation": "float64",
        "dominant_colours": "string",
        "dominant_colour_frac": "float64",
    }
    batch_size = 1

    def __init__(self, config: Config) -> None:
        self.config = config

    def annotate(self, samples: Sequence[AnnotatorInput]) -> list[dict[str, Any]]:
        """Facts of each sample's picture or middle frame."""
        return [self._facts(sample.image) for sample in samples]

    def _facts(self, image: Image.Image) -> dict[str, Any]:
        reduced = image.copy()
        reduced.thumbnail((self.config.max_side_px, self.config.max_side_px), Image.Resampling.BOX)
        pixels = np.asarray(reduced)
        colours, first_frac = dominant_colours(pixels, self.config.num_colours)
        highest = pixels.max(axis=2).astype(np.float64)
        return {
            "border_frac": border_frac(pixels, self.config.border_tolerance),
            "contrast": float(np.asarray(reduced.convert("L")).std()),
            "saturation": float(((highest - pixels.min(axis=2)) / np.maximum(highest, 1)).mean()),
            "dominant_colours": " ".join(f"#{bytes(colour).hex()}" for colour in colours),
            "dominant_colour_frac": first_frac,
        }


def border_frac(pixels: np.ndarray, tolerance: int) -> float:
    """Share of the area of uint8 [H, W, 3] in bars along its sides.

    Bars above and below are compared with the left corners, bars at the sides with the upper ones.
    """
    height, width = pixels.shape[:2]
    rows, columns = pixels, pixels.swapaxes(0, 1)
    top, bottom = _bar(rows, tolerance), _bar(rows[::-1], tolerance)
    left, right = _bar(columns, tolerance), _bar(columns[::-1], tolerance)
    return 1 - max(height - top - bottom, 0) * max(width - left - right, 0) / (height * width)


def dominant_colours(pixels: np.ndarray, most: int) -> tuple[np.ndarray, float]:
    """Mean colours of the fullest cells of the histogram of uint8 [H, W, 3]: uint8 [<= most, 3], and the first's share.

    Of equally full cells the darker one comes first, by red, then green, then blue.
    """
    flat = pixels.reshape(-1, 3)
    red, green, blue = (flat >> (8 - LEVEL_BITS)).astype(np.int64).T
    cells = (red << 2 * LEVEL_BITS) | (green << LEVEL_BITS) | blue
    counts = np.bincount(cells, minlength=NUM_CELLS)
    fullest = np.argsort(-counts, kind="stable")[:most]
    fullest = fullest[counts[fullest] > 0]
    sums = np.stack([np.bincount(cells, channel, NUM_CELLS)[fullest] for channel in flat.T], axis=1)
    return np.rint(sums / counts[fullest, None]).astype(np.uint8), float(counts[fullest[0]] / len(flat))


def _bar(lines: np.ndarray, tolerance: int) -> int:
    """How many of the first lines of uint8 [N, M, 3] are as the first pixel of all, up to the tolerance."""
    near = np.abs(lines.astype(np.int16) - lines[0, 0].astype(np.int16)).max(axis=(1, 2)) <= tolerance
    return len(near) if near.all() else int(near.argmin())
