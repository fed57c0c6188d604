import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import convolve
from skimage.measure import shannon_entropy

from pipelines.annotators import AnnotatorInput
from pipelines.annotators.image_stats import Annotator, Config, colourfulness, laplacian_variance


def annotate(image: Image.Image, **settings):
    given = AnnotatorInput(key="0" * 20, media="image", image=image, first_image=image)
    return Annotator(Config(**settings)).annotate([given])[0]


@pytest.fixture
def noise():
    return np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)


def test_against_independent_implementations(noise):
    image = Image.fromarray(noise)
    grey = np.asarray(image.convert("L"))
    found = annotate(image)
    assert found["entropy_bits"] == pytest.approx(shannon_entropy(grey, base=2), abs=1e-9)
    laplacian = convolve(grey.astype(float), np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]]), mode="nearest")
    assert found["sharpness"] == pytest.approx(laplacian.var())
    assert (found["mean_red"], found["mean_green"], found["mean_blue"]) == pytest.approx(tuple(noise.mean(axis=(0, 1))))
    assert found["brightness"] == pytest.approx(grey.mean())
    assert found["aspect"] == 1.5


def test_aspect_is_long_over_short():
    assert annotate(Image.new("RGB", (30, 90)))["aspect"] == 3.0


def test_a_flat_picture_has_neither_entropy_nor_edges_nor_colour():
    found = annotate(Image.new("RGB", (20, 20), (90, 90, 90)))
    assert (found["entropy_bits"], found["sharpness"], found["colourfulness"]) == (0.0, 0.0, 0.0)


def test_two_even_levels_are_one_bit():
    pixels = np.zeros((8, 8, 3), dtype=np.uint8)
    pixels[:, 4:] = 255
    assert annotate(Image.fromarray(pixels))["entropy_bits"] == pytest.approx(1.0)


def test_colourfulness_closed_form():
    red, blue = np.zeros((2, 2)), np.zeros((2, 2))
    red[0] = 200.0  # half red, half black: rg = 200 or 0, yb = 100 or 0
    expected = np.hypot(100, 50) + 0.3 * np.hypot(100, 50)
    assert colourfulness(red, np.zeros((2, 2)), blue) == pytest.approx(expected)


def test_blur_lowers_sharpness(noise):
    sharp = np.asarray(Image.fromarray(noise).convert("L"))
    soft = np.asarray(Image.fromarray(noise).convert("L").resize((30, 20)).resize((60, 40)))
    assert laplacian_variance(soft) < laplacian_variance(sharp) / 10


def test_large_pictures_are_reduced_before_measuring(noise):
    large = Image.fromarray(noise).resize((600, 400), Image.Resampling.NEAREST)
    small = annotate(large, max_side_px=60)
    assert small["sharpness"] == pytest.approx(annotate(Image.fromarray(noise))["sharpness"])
    assert small["aspect"] == 1.5


def test_max_side_is_checked():
    with pytest.raises(ValueError, match="max_side_px must be at least 16, got 2"):
        Config(max_side_px=2)
