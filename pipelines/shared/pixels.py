"""From a shard's samples to what models take: square RGB, stored as uint8, used as float32 in [-1, 1]."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pipelines.shared.decode import clip_frames, open_image
from pipelines.shared.records import Sample


def square(image: Image.Image, side_px: int) -> np.ndarray:
    """The middle square of a picture, resized with antialiasing (bicubic).

    Returns:
        uint8 [side_px, side_px, 3].
    """
    short = min(image.size)
    left, top = (image.width - short) // 2, (image.height - short) // 2
    middle = image.crop((left, top, left + short, top + short))
    return np.array(middle.resize((side_px, side_px), Image.Resampling.BICUBIC))


def image_pixels(sample: Sample, side_px: int) -> Tensor:
    """A picture as uint8 [3, side_px, side_px]."""
    return torch.from_numpy(square(open_image(sample.media), side_px)).permute(2, 0, 1).contiguous()


def clip_pixels(sample: Sample, side_px: int, num_frames: int) -> tuple[Tensor, Tensor]:
    """Evenly spaced frames of a clip.

    Returns:
        uint8 [num_frames, 3, side_px, side_px], zeros where the clip has fewer frames, and bool [num_frames], True
        where a frame is.
    """
    frames, _ = clip_frames(sample.media, num_frames)
    pixels = torch.zeros(num_frames, 3, side_px, side_px, dtype=torch.uint8)
    for index, frame in enumerate(frames):
        pixels[index] = torch.from_numpy(square(Image.fromarray(frame), side_px)).permute(2, 0, 1)
    return pixels, torch.arange(num_frames) < len(frames)


def to_float(pixels: Tensor) -> Tensor:
    """uint8 in [0, 255] -> float32 in [-1, 1]."""
    return pixels.float() / 127.5 - 1


def to_uint8(image: Tensor) -> Tensor:
    """Float in [-1, 1] -> uint8 in [0, 255], rounded to the nearest."""
    return ((image.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


def model_images(samples: Sequence[Sample], side_px: int) -> Tensor:
    """Pictures as a model takes them, float32 [B, 3, side_px, side_px] in [-1, 1]."""
    return to_float(torch.stack([image_pixels(sample, side_px) for sample in samples]))
