"""How well texts fit a picture or clip, by a matcher and a CLIP.

Frames of a clip count alike: the match is the mean of their probabilities, the cosine that of the mean of their
embeddings. What is kept: `pipelines.shared.keeping`.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from pipelines.shared.decode import clip_frames, open_image
from pipelines.shared.pixels import square, to_float
from pipelines.shared.records import Sample
from pipelines.shared.runs import LoadedRun

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


def model_frames(frames: Frames, run: LoadedRun) -> Tensor:
    """Frames as a run's model takes them, float32 [F, 3, image_px, image_px] in [-1, 1], on its device."""
    side_px = run.model.image_px
    pixels = [torch.from_numpy(square(frame, side_px)).permute(2, 0, 1).contiguous() for frame in frames]
    return to_float(torch.stack(pixels)).to(run.device)


@dataclass(frozen=True, slots=True)
class Judge:
    """Two runs that score texts.

    Attributes:
        matcher: A run whose model has `match`.
        clip: A run whose model has `encode_image` and `encode_text`.
    """

    matcher: LoadedRun
    clip: LoadedRun

    def match(self, frames: Sequence[Frames], owners: Sequence[int], texts: Sequence[str]) -> list[float]:
        """Match probability in [0, 1] of text i with the sample `owners[i]`."""
        if not texts:
            return []
        starts = [0, *itertools.accumulate(len(own) for own in frames)]
        places = [range(starts[owner], starts[owner + 1]) for owner in owners]
        pairs = [(text, place) for text, own in zip(texts, places, strict=True) for place in own]
        image = model_frames([frame for own in frames for frame in own], self.matcher)
        rows = torch.tensor([place for _, place in pairs])
        with torch.no_grad():
            found = self.matcher.model.match(image, [text for text, _ in pairs], rows)
        values = iter(found.tolist())
        return [sum(next(values) for _ in own) / len(own) for own in places]

    def cosine(self, frames: Sequence[Frames], owners: Sequence[int], texts: Sequence[str]) -> list[float]:
        """100 times the cosine of text i with the sample `owners[i]`, in [-100, 100]."""
        if not texts:
            return []
        with torch.no_grad():
            image = self.clip.model.encode_image(model_frames([frame for own in frames for frame in own], self.clip))
            parts = image.split([len(own) for own in frames])
            pictures = torch.stack([_mean(part) for part in parts])[torch.tensor(owners)]
            cosine = (pictures * self.clip.model.encode_text(list(texts))).sum(dim=1)
        return [100 * value for value in cosine.tolist()]


def _mean(embeddings: Tensor) -> Tensor:
    """The direction of the mean of rows of length 1; a single row as it is."""
    return embeddings[0] if len(embeddings) == 1 else functional.normalize(embeddings.mean(dim=0), dim=0)
