"""Nudity and faces, by NudeNet's detector of body parts, whose weights come in its package.

Source: `nudenet` 3.4, a YOLOv8n (Jocher et al. 2023) at 320 pixels; its code is not run. Its metadata says MIT, the
licence files in it are the AGPL-3.0: who publishes a service with it should look. A candidate counts for its best class
alone; candidates of one kind that overlap by more than 0.45 (intersection over union) are one detection.

Differs from the package's code: the network sees red, green and blue in this order, as its family is trained, where the
package turns the channels of files around (a photograph's face scores 0.83 instead of 0.73); pictures are made smaller
with antialiasing; a face does not hide what overlaps it. It was trained on photographs: of 49 moving emoji it gives 8 a
score above 0.3 and one 0.7. It sees bodies, not violence, not hate and not what a text says.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from pipelines.annotators import AnnotatorInput
from pipelines.shared.extras import packaged_network, packaged_path

PACKAGE, FILE, EXTRA = "nudenet", "320n.onnx", "nsfw"
SHA256 = "c15d8273adad2d0a92f014cc69ab2d6c311a06777a55545f2c4eb46f51911f0f"
SIDE_PX = 320
MAX_OVERLAP = 0.45
CLASSES = (
    *("FEMALE_GENITALIA_COVERED", "FACE_FEMALE", "BUTTOCKS_EXPOSED", "FEMALE_BREAST_EXPOSED"),
    *("FEMALE_GENITALIA_EXPOSED", "MALE_BREAST_EXPOSED", "ANUS_EXPOSED", "FEET_EXPOSED", "BELLY_COVERED"),
    *("FEET_COVERED", "ARMPITS_COVERED", "ARMPITS_EXPOSED", "FACE_MALE", "BELLY_EXPOSED", "MALE_GENITALIA_EXPOSED"),
    *("ANUS_COVERED", "FEMALE_BREAST_COVERED", "BUTTOCKS_COVERED"),
)
FACES = ("FACE_FEMALE", "FACE_MALE")


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Settings.

    Attributes:
        classes: Classes whose highest score is `nsfw_score`, of NudeNet's 18.
        face_threshold: Score from which a face counts, in [0, 1].
    """

    classes: tuple[str, ...] = (
        *("ANUS_EXPOSED", "BUTTOCKS_EXPOSED", "FEMALE_BREAST_EXPOSED"),
        *("FEMALE_GENITALIA_EXPOSED", "MALE_GENITALIA_EXPOSED"),
    )
    face_threshold: float = 0.25

    def __post_init__(self) -> None:
        if not self.classes or (unknown := sorted(set(self.classes) - set(CLASSES))):
            given = ", ".join(unknown) if self.classes else "none"
            raise ValueError(f"classes must be some of {', '.join(CLASSES)}, got {given}")
        if not 0 <= self.face_threshold <= 1:
            raise ValueError(f"face_threshold must be in [0, 1], got {self.face_threshold}")


class Annotator:
    """Per sample; of a clip the highest value of three evenly spaced frames.

    Columns: `nsfw_score` in [0, 1]; `num_faces`; `face_frac` (share of the area in the boxes of faces, at most 1).
    """

    columns: ClassVar[dict[str, str]] = {"nsfw_score": "float64", "num_faces": "int32", "face_frac": "float64"}
    batch_size = 1
    num_frames = 3

    def __init__(self, config: Config) -> None:
        packaged_path(PACKAGE, FILE, EXTRA)
        self.config = config

    def load(self) -> None:
        """Load the model."""
        packaged_network(PACKAGE, FILE, SHA256, EXTRA)

    def annotate(self, samples: Sequence[AnnotatorInput]) -> list[dict[str, Any]]:
        """Scores of each sample."""
        rows = []
        for sample in samples:
            values = [self._values(candidates(frame)) for frame in sample.frames or [sample.image]]
            rows.append({column: max(each[column] for each in values) for column in self.columns})
        return rows

    def _values(self, found: np.ndarray) -> dict[str, Any]:
        best = found[:, 4:].argmax(axis=1)
        scores = found[:, 4:].max(axis=1)
        unsafe = np.isin(best, [CLASSES.index(name) for name in self.config.classes])
        faces = found[np.isin(best, [CLASSES.index(name) for name in FACES]) & (scores >= self.config.face_threshold)]
        boxes = distinct_boxes(faces)
        sides = boxes[:, 2:] - boxes[:, :2]
        return {
            "nsfw_score": round(float(scores[unsafe].max(initial=0.0)), 4),
            "num_faces": len(boxes),
            "face_frac": round(min(float(sides.prod(axis=1).sum()), 1.0), 4),
        }


def candidates(image: Image.Image) -> np.ndarray:
    """What the network says of an RGB picture.

    Returns:
        float64 [2100, 4 + 18]: boxes by left, top, right and bottom edge in [0, 1] of the picture's width and height,
        and a score in [0, 1] for each class.
    """
    scale = SIDE_PX / max(image.size)
    width, height = (max(round(side * scale), 1) for side in image.size)
    pixels = np.zeros((SIDE_PX, SIDE_PX, 3), np.float32)
    pixels[:height, :width] = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR), np.float32) / 255
    network = packaged_network(PACKAGE, FILE, SHA256, EXTRA)
    (answer,) = network.run(None, {"images": pixels.transpose(2, 0, 1)[None]})
    found = answer[0].T.astype(np.float64)
    centres, sides = found[:, :2].copy(), found[:, 2:4].copy()
    found[:, :2] = np.clip((centres - sides / 2) / (width, height), 0, 1)
    found[:, 2:4] = np.clip((centres + sides / 2) / (width, height), 0, 1)
    return found


def distinct_boxes(found: np.ndarray) -> np.ndarray:
    """Boxes [M, 4] of detections out of candidates [N, 4 + 18] of one kind, best first; overlapping ones are one."""
    boxes = found[np.argsort(-found[:, 4:].max(axis=1), kind="stable"), :4]
    distinct: list[np.ndarray] = []
    while len(boxes):
        first = boxes[0]
        distinct.append(first)
        boxes = boxes[overlap(first, boxes) <= MAX_OVERLAP]
    return np.stack(distinct) if distinct else np.empty((0, 4))


def overlap(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Intersection over union of a box [4] with boxes [N, 4], by their edges; 1 if both are empty."""
    sides = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    inside = np.maximum(sides, 0).prod(axis=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    union = (box[2:] - box[:2]).prod() + areas - inside
    return np.divide(inside, union, out=np.ones_like(union), where=union > 0)
