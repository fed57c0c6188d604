import colorsys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipelines.annotators import AnnotatorInput
from pipelines.annotators.image_layout import Annotator, Config, border_frac, dominant_colours
from tests.pipelines.builders import drawing


def annotate(image: Image.Image, **settings):
    sample = AnnotatorInput(key="0" * 20, media="image", image=image, first_image=image)
    return Annotator(Config(**settings)).annotate([sample])[0]


def framed(top: int, bottom: int, left: int, right: int) -> np.ndarray:
    """20 x 30 pixels of noise in [100, 255] with black bars."""
    pixels = np.random.default_rng(0).integers(100, 256, (20, 30, 3), dtype=np.uint8)
    pixels[:top], pixels[20 - bottom :], pixels[:, :left], pixels[:, 30 - right :] = 0, 0, 0, 0
    return pixels


@given(st.tuples(*[st.integers(0, 8)] * 4))
def test_bars_of_any_width_are_measured(bars):
    top, bottom, left, right = bars
    inner = (20 - top - bottom) * (30 - left - right)
    assert border_frac(framed(*bars), 12) == pytest.approx(1 - inner / 600)


def test_bars_may_have_two_colours_and_some_noise():
    pixels = framed(4, 0, 0, 0)
    pixels[18:] = 255
    pixels[:4] += np.random.default_rng(1).integers(0, 7, (4, 30, 3), dtype=np.uint8)
    assert border_frac(pixels, 12) == pytest.approx(6 / 20)
    assert border_frac(pixels, 0) < 6 / 20


def test_a_flat_picture_is_all_border():
    found = annotate(Image.new("RGB", (9, 5), (200, 10, 30)))
    assert (found["border_frac"], found["contrast"], found["dominant_colour_frac"]) == (1.0, 0.0, 1.0)
    assert found["dominant_colours"] == "#c80a1e"


def test_dominant_colours_by_hand():
    pixels = np.zeros((1, 10, 3), dtype=np.uint8)
    pixels[0, :5] = (255, 255, 255)
    pixels[0, 5:8] = (130, 0, 0)
    pixels[0, 7] = (133, 3, 0)  # the same cell: the mean of 130, 130, 133 and of 0, 0, 3
    colours, frac = dominant_colours(pixels, 2)
    assert colours.tolist() == [[255, 255, 255], [131, 1, 0]] and frac == 0.5
    assert annotate(Image.fromarray(pixels))["dominant_colours"] == "#ffffff #830100 #000000"


def test_dominant_colours_do_not_depend_on_where_pixels_are():
    pixels = np.asarray(drawing(3))
    shuffled = np.random.default_rng(0).permutation(pixels.reshape(-1, 3)).reshape(pixels.shape)
    for found, expected in zip(dominant_colours(shuffled, 5), dominant_colours(pixels, 5), strict=True):
        assert np.array_equal(found, expected)


def test_contrast_and_saturation_against_references():
    image = drawing(1, 12, 10)
    found = annotate(image)
    expected = np.mean([colorsys.rgb_to_hsv(*(pixel / 255))[1] for pixel in np.asarray(image).reshape(-1, 3)])
    assert found["saturation"] == pytest.approx(expected)
    halves = np.zeros((4, 4, 3), dtype=np.uint8)
    halves[:2] = 255
    assert annotate(Image.fromarray(halves))["contrast"] == 127.5


def test_large_pictures_are_reduced_before_measuring():
    large = Image.fromarray(framed(5, 5, 0, 0)).resize((900, 600), Image.Resampling.NEAREST)
    assert annotate(large, max_side_px=30) == annotate(Image.fromarray(framed(5, 5, 0, 0)))


@pytest.mark.parametrize(
    "settings,message",
    [
        ({"border_tolerance": 256}, r"border_tolerance must be in \[0, 255\], got 256"),
        ({"max_side_px": 8}, "max_side_px must be at least 16, got 8"),
        ({"num_colours": 0}, r"num_colours must be in \[1, 512\], got 0"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        Config(**settings)
