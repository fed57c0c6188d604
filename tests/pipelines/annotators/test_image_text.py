import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from pipelines.annotators import AnnotatorInput
from pipelines.annotators.image_text import Annotator, Config, load_reader, polygon_area, resized


def annotate(image: Image.Image, **settings):
    sample = AnnotatorInput(key="0" * 20, media="image", image=image, first_image=image)
    return Annotator(Config(**settings)).annotate([sample])[0]


def written(text: str, height_px: int, angle: float = 0.0) -> tuple[Image.Image, float]:
    """Text on a plain ground, and the share of the area in its tight box."""
    font = ImageFont.load_default(height_px)
    ink = Image.new("L", (480, 480))
    draw = ImageDraw.Draw(ink)
    draw.text((240, 240), text, font=font, fill=255, anchor="mm")
    left, top, right, bottom = draw.textbbox((240, 240), text, font=font, anchor="mm")
    image = Image.new("RGB", ink.size, (225, 232, 240))
    image.paste((20, 24, 30), mask=ink.rotate(angle, Image.Resampling.BICUBIC))
    return image, (right - left) * (bottom - top) / 480**2


@pytest.mark.parametrize("angle", [0.0, 30.0])
def test_text_is_read_and_measured(angle):
    image, tight_frac = written("Sample photo", 48, angle)
    found = annotate(image)
    assert (found["image_text"], found["num_texts"]) == ("Sample photo", 1)
    assert tight_frac < found["text_frac"] < 2.2 * tight_frac


def test_lines_are_counted():
    found = annotate(written("First line\nsecond line\nthird one", 32)[0])
    assert found["num_texts"] == 3 and found["image_text"] == "First line second line third one"


def test_no_text_and_single_letters():
    blank = Image.new("RGB", (480, 480), (225, 232, 240))
    assert annotate(blank) == {"image_text": "", "num_texts": 0, "text_frac": 0.0}
    letter, _ = written("B", 300)
    assert load_reader(0.5)(np.asarray(letter)).txts is not None  # RapidOCR alone takes it for text
    assert annotate(letter)["num_texts"] == 0


@pytest.mark.parametrize(
    "size,expected",
    [((240, 160), (720, 480)), ((900, 600), (900, 600)), ((3, 900), (7, 2000)), ((4000, 3000), (2000, 1500))],
)
def test_sizes(size, expected):
    assert resized(Image.new("RGB", size), 480).size == expected


@pytest.mark.parametrize("size", [(1, 1), (3, 400), (400, 12)])
def test_thin_pictures_pass(size):
    assert annotate(Image.new("RGB", size, (225, 232, 240)))["num_texts"] == 0


def test_polygon_area():
    assert polygon_area(np.array([[0, 0], [4, 0], [4, 3], [0, 3]], float)) == 12
    assert polygon_area(np.array([[1, 0], [0, 1], [-1, 0], [0, -1]], float)) == 2


@pytest.mark.parametrize(
    "settings,message",
    [
        ({"min_side_px": 16}, r"min_side_px must be in \[32, 2000\], got 16"),
        ({"min_confidence": 2.0}, r"min_confidence must be in \[0, 1\], got 2.0"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        Config(**settings)
