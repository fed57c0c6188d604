"""Sizes, ranges and layouts between shards and models."""

import io

import numpy as np
import torch
from PIL import Image

from pipelines.shared.decode import encode_clip
from pipelines.shared.pixels import clip_pixels, image_pixels, model_images, square, to_float, to_uint8
from pipelines.shared.records import Sample


def png_sample(image: Image.Image) -> Sample:
    handle = io.BytesIO()
    image.save(handle, "PNG")
    return Sample(key="0" * 20, extension="png", media=handle.getvalue(), captions=())


def test_square_takes_the_middle() -> None:
    wide = Image.new("RGB", (40, 20), "red")
    wide.paste((0, 0, 255), (10, 0, 30, 20))
    assert (square(wide, 8) == np.array([0, 0, 255])).all()


def test_round_trip_of_all_values() -> None:
    values = torch.arange(256, dtype=torch.uint8).view(1, 16, 16)
    assert torch.equal(to_uint8(to_float(values)), values)
    assert to_float(values).min() == -1
    assert to_float(values).max() == 1


def test_image_layout() -> None:
    pixels = image_pixels(png_sample(Image.new("RGB", (30, 30), (10, 20, 30))), 16)
    assert pixels.shape == (3, 16, 16)
    assert pixels.dtype == torch.uint8
    assert pixels[:, 0, 0].tolist() == [10, 20, 30]
    assert model_images([png_sample(Image.new("RGB", (9, 9), "white"))], 4).max() == 1


def test_short_clip_is_masked() -> None:
    frames = np.full((3, 32, 32, 3), 200, dtype=np.uint8)
    sample = Sample(key="1" * 20, extension="mp4", media=encode_clip(frames, 8.0), captions=())
    pixels, mask = clip_pixels(sample, 16, 5)
    assert pixels.shape == (5, 3, 16, 16)
    assert mask.tolist() == [True, True, True, False, False]
    assert (pixels[:3].float() - 200).abs().max() < 8
    assert pixels[3:].eq(0).all()
