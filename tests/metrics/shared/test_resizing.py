"""Each rule against the code that it is named after."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

from metrics.shared.resizing import RULES, check_rule, resize

SHAPES = [(16, 24), (64, 48), (299, 299), (500, 333)]


def picture(height_px: int, width_px: int) -> torch.Tensor:
    """Noise, the worst case of every rule; uint8 [1, 3, H, W]."""
    generator = torch.Generator().manual_seed(height_px)
    return torch.randint(0, 256, (1, 3, height_px, width_px), dtype=torch.uint8, generator=generator)


def pillow(images: torch.Tensor, size_px: int, rule: Image.Resampling) -> np.ndarray:
    """One channel at a time, in float."""
    channels = [Image.fromarray(channel.astype(np.float32)) for channel in images[0].numpy()]
    assert all(channel.mode == "F" for channel in channels)
    return np.stack([np.asarray(channel.resize((size_px, size_px), rule)) for channel in channels])


@pytest.mark.parametrize("shape", SHAPES)
def test_clean_is_pillow_per_channel_in_float(shape):
    images = picture(*shape)
    ours = resize(images, 299, "clean")[0].numpy()
    assert np.abs(ours - pillow(images, 299, Image.Resampling.BICUBIC)).max() < 1e-4
    if shape != (299, 299):
        assert ours.min() < 0 and ours.max() > 255, "neither rounded nor clipped"


@pytest.mark.parametrize("shape", SHAPES)
def test_tf1_is_that_of_torch_fidelity(shape):
    images = picture(*shape)
    theirs = interpolate_bilinear_2d_like_tensorflow1x(images.float(), size=(299, 299), align_corners=False)
    assert torch.allclose(resize(images, 299, "tf1"), theirs, atol=1e-3)


def test_tf1_samples_from_the_corner():
    """Doubling keeps every pixel and puts means between them; the last is repeated."""
    row = torch.tensor([0, 10, 30], dtype=torch.uint8).view(1, 1, 1, 3).expand(1, 1, 3, 3)
    assert resize(row, 6, "tf1")[0, 0, 0].tolist() == [0, 5, 10, 20, 30, 30]


@pytest.mark.parametrize("shape", SHAPES)
def test_torch_antialias_is_pillows_bilinear(shape):
    images = picture(*shape)
    ours = resize(images, 64, "torch-antialias")[0].numpy()
    assert np.abs(ours - pillow(images, 64, Image.Resampling.BILINEAR)).max() < 0.02  # float32 weights


def sampled(images: torch.Tensor, size_px: int, mode: str) -> torch.Tensor:
    """Values at the pixel centres of the result, by another function of torch."""
    centres = (torch.arange(size_px) + 0.5) * 2 / size_px - 1
    grid = torch.stack(torch.meshgrid(centres, centres, indexing="xy"), dim=-1)[None]
    return torch.nn.functional.grid_sample(images.float(), grid, mode=mode, padding_mode="border", align_corners=False)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("rule", "mode"), [("torch", "bilinear"), ("torch-bicubic", "bicubic")])
def test_torch_rules_sample_at_pixel_centres(rule, mode, shape):
    images = picture(*shape)
    ours, theirs = resize(images, 40, rule), sampled(images, 40, mode)
    assert torch.allclose(ours[..., 3:-3, 3:-3], theirs[..., 3:-3, 3:-3], atol=0.05)


@pytest.mark.parametrize("rule", sorted(RULES))
def test_every_rule_is_another_one_and_keeps_its_form(rule):
    images = picture(500, 333)
    ours = resize(images.expand(2, -1, -1, -1), 64, rule)
    assert (ours.shape, ours.dtype) == ((2, 3, 64, 64), torch.float32)
    assert torch.equal(ours[:1], ours[1:])
    for other in set(RULES) - {rule}:
        assert (ours - resize(images, 64, other)).abs().max() > 5, f"{rule} and {other}"


@pytest.mark.parametrize("rule", sorted(RULES))
def test_nothing_changes_at_the_same_size(rule):
    images = picture(64, 64)
    assert torch.equal(resize(images, 64, rule), images.float())


def test_unknown_rule_lists_the_rules():
    for rule in RULES:
        check_rule(rule)
    with pytest.raises(ValueError, match="resize must be one of clean, tf1, torch, torch-antialias, torch-bicubic"):
        check_rule("bicubic")
