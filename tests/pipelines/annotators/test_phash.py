import io

import imagehash
import numpy as np
import pytest
from PIL import Image, ImageDraw

from pipelines.annotators import AnnotatorInput
from pipelines.annotators.phash import Annotator, Config, grey_pixels, hash_digits
from tests.pipelines.builders import drawing, encoded


def annotate(image: Image.Image, first: Image.Image | None = None):
    given = AnnotatorInput(key="0" * 20, media="image", image=image, first_image=first or image)
    return Annotator(Config()).annotate([given])[0]


def distance(first: str, second: str) -> int:
    return (int(first, 16) ^ int(second, 16)).bit_count()


def saved_again(image: Image.Image, quality: int, scale: float) -> Image.Image:
    small = image.resize([round(side * scale) for side in image.size], Image.Resampling.BICUBIC)
    return Image.open(io.BytesIO(encoded(small, "jpg", quality=quality))).convert("RGB")


def smiley() -> Image.Image:
    """A symmetric drawing on white."""
    image = Image.new("RGB", (200, 200), "white")
    pen = ImageDraw.Draw(image)
    pen.ellipse((40, 40, 160, 160), fill="yellow")
    pen.ellipse((75, 80, 90, 95), fill="black")
    pen.ellipse((110, 80, 125, 95), fill="black")
    return image


@pytest.mark.parametrize("seed", range(8))
def test_is_imagehash_where_no_coefficient_is_small(seed):
    rng = np.random.default_rng(seed)
    image = Image.fromarray(rng.integers(0, 256, (32, 32), dtype=np.uint8)).convert("RGB")
    assert distance(annotate(image)["phash"], str(imagehash.phash(image))) <= 2


def test_the_bit_order_is_that_of_imagehash():
    found, expected = annotate(drawing(3))["phash"], str(imagehash.phash(drawing(3)))
    assert distance(found, expected) <= 12
    assert distance(found[::-1], expected) > 12


@pytest.mark.parametrize("quality,scale", [(95, 1.0), (85, 0.625), (75, 0.5)])
def test_copies_of_a_symmetric_picture_stay_near(quality, scale):
    again = annotate(saved_again(smiley(), quality, scale))["phash"]
    assert distance(annotate(smiley())["phash"], again) <= 2


def test_without_the_dead_band_they_would_not():
    again = saved_again(smiley(), 90, 0.36)
    assert imagehash.phash(smiley()) - imagehash.phash(again) > 4
    assert distance(annotate(smiley())["phash"], annotate(again)["phash"]) <= 2


def test_other_pictures_are_far():
    hashes = [annotate(drawing(seed))["phash"] for seed in range(30)]
    distances = [distance(first, second) for i, first in enumerate(hashes) for second in hashes[:i]]
    assert min(distances) > 8


def test_contrast_and_grid():
    halves = np.zeros((64, 64, 3), dtype=np.uint8)
    halves[:, 32:] = (255, 0, 0)
    found = annotate(Image.fromarray(halves))
    grid = np.frombuffer(found["colour_grid"], dtype=np.uint8).reshape(8, 8, 3)
    assert (grid[:, :4] == 0).all() and (grid[:, 4:] == (255, 0, 0)).all()
    assert found["phash_contrast"] == pytest.approx(76 / 2, abs=2)
    assert annotate(Image.new("RGB", (50, 50), "white"))["phash_contrast"] == 0


def test_first_frame_of_a_clip():
    found = annotate(drawing(1), first=drawing(2))
    assert found["phash"] == annotate(drawing(1))["phash"]
    assert found["phash_first"] == annotate(drawing(2))["phash"]


def test_rounding_noise_does_not_reach_the_bits():
    pixels = grey_pixels(smiley())
    noisy = pixels + np.random.default_rng(0).normal(0, 1e-9, pixels.shape)
    assert hash_digits(pixels) == hash_digits(noisy)
