import numpy as np
import pytest
from PIL import Image

from pipelines.shared.resize import RESIZE_MODES, resized


def red(width, height):
    return Image.new("RGB", (width, height), (255, 0, 0))


@pytest.mark.parametrize("size", [(100, 50), (50, 100), (64, 64), (10, 7), (1000, 1)])
@pytest.mark.parametrize("mode", RESIZE_MODES)
def test_sizes(size, mode):
    found = resized(red(*size), 32, mode)
    assert found.mode == "RGB"
    if mode == "keep_ratio":
        assert min(found.size) == 32 and found.width / found.height == pytest.approx(size[0] / size[1], rel=0.05)
    else:
        assert found.size == (32, 32)


def test_border_is_white_and_even():
    pixels = np.asarray(resized(red(100, 50), 32, "border"))
    assert (pixels[:8] == 255).all() and (pixels[24:] == 255).all()
    assert (pixels[8:24] == (255, 0, 0)).all()


def test_center_crop_is_the_middle():
    image = red(90, 30)
    image.paste((0, 0, 255), (30, 0, 60, 30))
    pixels = np.asarray(resized(image, 10, "center_crop"))
    assert (pixels[:, 1:9] == (0, 0, 255)).all()


def test_large_pictures_are_filtered_before_they_are_reduced():
    checks = np.indices((256, 256)).sum(axis=0) % 2 * 255
    found = np.asarray(resized(Image.fromarray(checks.astype(np.uint8)).convert("RGB"), 16, "border"))
    assert np.abs(found.astype(int) - 127).max() <= 4
