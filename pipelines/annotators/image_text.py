"""Text in a picture, and how much of its area it takes: watermarks, posters, memes, screenshots. Read by RapidOCR.

Source: PP-OCR version 6 (small; Du et al. 2020, arXiv:2009.09941), whose detector and recogniser come in `rapidocr`
(Apache-2.0). Text that stands on its head is not turned.

Differs from RapidOCR's answer: what is read as a single letter or digit is not text, because the detector takes many a
drawing on a plain ground for one (of 30 pieces of clip art 11 had text, with this rule 4, of which 3 do); pictures are
enlarged to 480 pixels where it takes 736, for a third of the time and the same lines in these 30.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from PIL import Image

from pipelines.annotators import AnnotatorInput
from pipelines.shared.extras import checked_path, needing, packaged_path
from pipelines.shared.loading import LoadedOnce
from pipelines.shared.words import alphanumerics

if TYPE_CHECKING:
    from rapidocr import RapidOCR

PACKAGE, EXTRA = "rapidocr", "ocr"
FILES = {
    "Det": (
        "models/PP-OCRv6_det_small.onnx",
        "090f04abcd9d9a7498bc4ebf677e4cb9bdce1fe4197ddb7e529f1ef44e1ff94f",
    ),
    "Rec": (
        "models/PP-OCRv6_rec_small.onnx",
        "6f327246b50388f3c176ae304bd95767ea6dc0c9ae92153ef8cbe210b3c14884",
    ),
}
MIN_CHARACTERS = 2
MAX_SIDE_PX = 2000


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Settings.

    Attributes:
        min_side_px: Shorter side to which smaller pictures are enlarged before text is looked for, in [32, 2000]; the
            longer side stays within 2000.
        min_confidence: Confidence from which a reading counts, in [0, 1].
    """

    min_side_px: int = 480
    min_confidence: float = 0.5

    def __post_init__(self) -> None:
        if not 32 <= self.min_side_px <= MAX_SIDE_PX:
            raise ValueError(f"min_side_px must be in [32, {MAX_SIDE_PX}], got {self.min_side_px}")
        if not 0 <= self.min_confidence <= 1:
            raise ValueError(f"min_confidence must be in [0, 1], got {self.min_confidence}")


class Annotator:
    """Per sample, of the picture or a clip's middle frame.

    Columns: `image_text` (what is read, line after line, by spaces); `num_texts` (lines); `text_frac` (share of the
    area in their boxes, at most 1).
    """

    columns: ClassVar[dict[str, str]] = {"image_text": "string", "num_texts": "int32", "text_frac": "float64"}
    batch_size = 1

    def __init__(self, config: Config) -> None:
        for file, _ in FILES.values():
            packaged_path(PACKAGE, file, EXTRA)
        self.config = config

    def load(self) -> None:
        """Load the networks."""
        load_reader(self.config.min_confidence)

    def annotate(self, samples: Sequence[AnnotatorInput]) -> list[dict[str, Any]]:
        """Text in each sample's picture or middle frame."""
        return [self._values(sample.image) for sample in samples]

    def _values(self, image: Image.Image) -> dict[str, Any]:
        image = resized(image, self.config.min_side_px)
        answer: Any = load_reader(self.config.min_confidence)(np.ascontiguousarray(np.asarray(image)[:, :, ::-1]))
        found = [] if answer.txts is None else zip(answer.txts, answer.boxes, strict=True)
        lines = [(text, box) for text, box in found if alphanumerics(text) >= MIN_CHARACTERS]
        area = sum(polygon_area(np.asarray(box, np.float64)) for _, box in lines)
        return {
            "image_text": " ".join(text for text, _ in lines),
            "num_texts": len(lines),
            "text_frac": round(min(area / (image.width * image.height), 1.0), 4),
        }


def resized(image: Image.Image, min_side_px: int) -> Image.Image:
    """The picture in the size in which text is looked for."""
    scale = min(max(min_side_px / min(image.size), 1.0), MAX_SIDE_PX / max(image.size))
    width, height = (max(round(side * scale), 1) for side in image.size)
    return image.resize((width, height), Image.Resampling.BILINEAR)


@LoadedOnce
def load_reader(min_confidence: float) -> "RapidOCR":
    """The reader, on one thread of the CPU; once per process and confidence.

    Raises:
        ValueError: RapidOCR or onnxruntime are not installed, or a file of weights is another one.
    """
    with needing(EXTRA):
        import onnxruntime  # noqa: F401
        from rapidocr import RapidOCR

    settings: dict[str, Any] = {
        "Global.use_cls": False,
        "Global.log_level": "critical",
        "Global.max_side_len": MAX_SIDE_PX,
        "Global.text_score": min_confidence,
        "Det.limit_type": "max",
        "Det.limit_side_len": MAX_SIDE_PX,
        "EngineConfig.onnxruntime.intra_op_num_threads": 1,
        "EngineConfig.onnxruntime.inter_op_num_threads": 1,
    }
    for part, (file, sha256) in FILES.items():
        settings[f"{part}.model_path"] = str(checked_path(PACKAGE, file, sha256, EXTRA))
    return RapidOCR(params=settings)


def polygon_area(corners: np.ndarray) -> float:
    """Area of a polygon by its corners float64 [N, 2] in order (the shoelace formula)."""
    x, y = corners.T
    return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)
