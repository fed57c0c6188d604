import subprocess
import sys

import numpy as np
import pytest
import skimage.data
from PIL import Image

from pipelines.shared import resize
from pipelines.shared.resize import LARGE_PX, RESIZE_MODES, resized, scaled


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


def photograph(name):
    """A photograph of scikit-image's."""
    image = Image.fromarray(skimage.data.astronaut() if name == "astronaut" else skimage.data.coffee())
    return image if image.width * image.height >= LARGE_PX else image.resize((660, 440), Image.Resampling.NEAREST)


@pytest.mark.parametrize("name", ["astronaut", "coffee"])
@pytest.mark.parametrize("side_px", [32, 96, 224, 448, 700])
def test_large_pictures_are_pillows_within_two_levels_and_nearly_all_within_one(name, side_px):
    image = photograph(name)
    size = [round(side * side_px / max(image.size)) for side in image.size]
    ours = np.asarray(scaled(image, *size), dtype=int)
    differences = np.abs(ours - np.asarray(image.resize(size, Image.Resampling.BICUBIC)))
    assert differences.max() <= 2 and (differences > 1).mean() < 1e-4 and (differences > 0).mean() < 0.02


def test_a_picture_of_its_size_is_left_alone():
    for image in (photograph("astronaut"), red(10, 20)):
        assert scaled(image, *image.size).tobytes() == image.tobytes()


def test_the_pictures_own_size_says_who_resizes(monkeypatch):
    asked = []
    torch = resize._torch()
    monkeypatch.setattr(resize, "_torch", lambda: asked.append(1) or torch)
    scaled(red(512, 511), 64, 64)
    assert not asked
    scaled(red(512, 512), 64, 64)
    assert asked


def test_small_pictures_import_no_torch():
    """The import costs each worker more than thousands of small pictures save."""
    code = (
        "import sys; from PIL import Image; from pipelines.shared.packing import resized;"
        "resized(Image.new('RGB', (300, 300)), 64, 'border'); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_layout_in_memory_and_threads_change_nothing():
    image = photograph("coffee")
    expected = scaled(image, 224, 150)
    pixels = resize._torch().from_numpy(np.array(image)).permute(2, 0, 1)[None].contiguous()
    found = resize._torch().nn.functional.interpolate(pixels, size=(150, 224), mode="bicubic", antialias=True)
    assert found[0].permute(1, 2, 0).numpy().tobytes() == expected.tobytes()
    assert resize._torch().get_num_threads() == 1


@pytest.mark.parametrize("mode", RESIZE_MODES)
@pytest.mark.parametrize("size", [(900, 300), (300, 900), (2**18, 1)])
def test_large_pictures_have_the_sizes_of_small_ones(size, mode):
    found = resized(red(*size), 32, mode)
    assert min(found.size) == 32 and (mode == "keep_ratio" or found.size == (32, 32))
    assert np.asarray(found).max() == 255
