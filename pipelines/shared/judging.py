"""How well texts fit a picture or clip, by a matcher and a CLIP.

Frames of a clip count alike: the match is the mean of their probabilities, the cosine that of the mean of their
embeddings. What is kept: `pipelines.shared.keeping`.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from pipelines.shared.decode import clip_frames, open_image
from pipelines.shared.pixels import square, to_float
from pipelines.shared.records import Sample

Frames = Sequence[Image.Image]
"""A picture alone, or frames of a clip in their order; mode RGB."""


def sample_frames(sample: Sample, num_frames: int) -> tuple[Image.Image, ...]:
    """What is seen of a sample: its picture, or at most so many frames of its clip, evenly spaced.

    Raises:
        MediaError: It does not decode.
    """
    if not sample.is_video:
        return (open_image(sample.media),)
    frames, _ = clip_frames(sample.media, num_frames)
    return tuple(Image.fromarray(frame) for frame in frames)


def model_frames(frames: Frames, side_px: int) -> Tensor:
    """Frames as a model takes them, float32 [F, 3, side_px, side_px] in [-1, 1]."""
    pixels = [torch.from_numpy(square(frame, side_px)).permute(2, 0, 1).contiguous() for frame in frames]
    return to_float(torch.stack(pixels))


@dataclass(frozen=True, slots=True)
class Judge:
    """Two models that score texts.

    Attributes:
        matcher: A model with `match`.
        clip: A model with `encode_image` and `encode_text`.
    """

    matcher: Any
    clip: Any

    def match(self, frames: Sequence[Frames], owners: Sequence[int], texts: Sequence[str]) -> list[float]:
        """Match probability in [0, 1] of text i with the sample `owners[i]`."""
        if not texts:
            return []
        starts = [0, *itertools.accumulate(len(own) for own in frames)]
        places = [range(starts[owner], starts[owner + 1]) for owner in owners]
        pairs = [(text, place) for text, own in zip(texts, places, strict=True) for place in own]
        image = model_frames([frame for own in frames for frame in own], self.matcher.image_px)
        with torch.no_grad():
            found = self.matcher.match(image, [text for text, _ in pairs], torch.tensor([place for _, place in pairs]))
        values = iter([float(value) for value in found])
        return [sum(next(values) for _ in own) / len(own) for own in places]

    def cosine(self, frames: Sequence[Frames], owners: Sequence[int], texts: Sequence[str]) -> list[float]:
        """100 times the cosine of text i with the sample `owners[i]`, in [-100, 100]."""
        if not texts:
            return []
        with torch.no_grad():
            image = self.clip.encode_image(model_frames([frame for own in frames for frame in own], self.clip.image_px))
            parts = image.split([len(own) for own in frames])
            pictures = torch.stack([_mean(part) for part in parts])[torch.tensor(owners)]
            cosine = (pictures * self.clip.encode_text(list(texts))).sum(dim=1)
        return [100 * float(value) for value in cosine]


def _mean(embeddings: Tensor) -> Tensor:
    """The direction of the mean of rows of length 1; a single row as it is."""
    return embeddings[0] if len(embeddings) == 1 else functional.normalize(embeddings.mean(dim=0), dim=0)
