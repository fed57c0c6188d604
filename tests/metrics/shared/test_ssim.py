"""SSIM and MS-SSIM against scikit-image, SciPy and torchmetrics."""

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate, gaussian_filter
from skimage import data
from skimage.metrics import structural_similarity as skimage_ssim
from torchmetrics.functional.image import (
    multiscale_structural_similarity_index_measure,
    structural_similarity_index_measure,
)

from metrics.shared.ssim import (
    MIN_MULTISCALE_PX,
    SCALE_WEIGHTS,
    multiscale_structural_similarity,
    structural_similarity,
)

C1, C2 = 6.5025, 58.5225


def pairs(height_px: int, width_px: int, num_images: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """Patches of a photograph with more and more noise, float64 [n, 3, h, w]."""
    rng = np.random.default_rng(0)
    images = np.stack([data.astronaut()[20 * i :][:height_px, 100 : 100 + width_px] for i in range(num_images)])
    noise = rng.normal(size=images.shape) * np.linspace(5, 60, num_images)[:, None, None, None]
    noisy = (images + noise).round().clip(0, 255)
    return tuple(torch.from_numpy(each).double().permute(0, 3, 1, 2) for each in (images, noisy))


def inner(values: np.ndarray) -> float:
    return values[5:-5, 5:-5].mean()


def one_channel(one: np.ndarray, other: np.ndarray) -> float:
    """The definition of MS-SSIM with SciPy's filters, for a gray image."""
    value = 1.0
    for scale, weight in enumerate(SCALE_WEIGHTS):

        def window(values):
            return gaussian_filter(values, sigma=1.5, truncate=3.5)

        mean1, mean2 = window(one), window(other)
        variances = window(one**2) - mean1**2 + window(other**2) - mean2**2
        structure = (2 * (window(one * other) - mean1 * mean2) + C2) / (variances + C2)
        luminance = (2 * mean1 * mean2 + C1) / (mean1**2 + mean2**2 + C1)
        value *= inner(luminance * structure if scale == 4 else structure) ** weight
        # the mean of each pixel with its right and lower neighbours, mirrored at the border; every second one
        one, other = (
            correlate(each, np.full((2, 2), 0.25), mode="reflect", origin=-1)[::2, ::2] for each in (one, other)
        )
    return value


def test_scikit_image_agrees():
    images, noisy = pairs(40, 56)
    ours = structural_similarity(images, noisy)
    for index, (image, other) in enumerate(zip(images.numpy(), noisy.numpy(), strict=True)):
        theirs = skimage_ssim(
            image,
            other,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=255,
            channel_axis=0,
        )
        assert ours[index].item() == pytest.approx(theirs, abs=1e-12)


def test_torchmetrics_agrees_inside_the_border():
    images, noisy = pairs(40, 56)
    mean, full = structural_similarity_index_measure(
        noisy, images, data_range=255.0, reduction="none", return_full_image=True
    )
    ours = structural_similarity(images, noisy)
    assert torch.allclose(ours, full[..., 5:-5, 5:-5].mean((1, 2, 3)), atol=1e-6)
    assert (ours - mean).abs().max() > 1e-4, "with the mirrored border it is another number"


@pytest.mark.parametrize("sides", [(176, 192), (181, 203)])
def test_scipy_agrees_at_five_scales(sides):
    images, noisy = pairs(*sides, num_images=2)
    ours = multiscale_structural_similarity(images, noisy)
    for index in range(2):
        channels = [one_channel(*pair) for pair in zip(images[index].numpy(), noisy[index].numpy(), strict=True)]
        assert ours[index].item() == pytest.approx(np.mean(channels), abs=1e-10)


def test_torchmetrics_agrees_at_five_scales_but_for_the_border_of_the_last():
    """torchmetrics crops the border of contrast and structure, and not that of the last scale's SSIM."""
    images, noisy = (
        each.flatten(0, 1)[:, None] for each in pairs(176, 192, num_images=2)
    )  # gray images, as in the paper
    theirs = multiscale_structural_similarity_index_measure(noisy, images, data_range=255.0, reduction="none")
    last = [torch.nn.functional.avg_pool2d(each, 16) for each in (noisy, images)]
    mirrored, full = structural_similarity_index_measure(
        *last, data_range=255.0, reduction="none", return_full_image=True
    )
    inside = full[..., 5:-5, 5:-5].mean((1, 2, 3))
    ours = multiscale_structural_similarity(images, noisy)
    assert torch.allclose(ours, theirs * (inside / mirrored) ** SCALE_WEIGHTS[-1], atol=1e-6)
    assert (ours - theirs).abs().max() > 1e-4


def test_constant_images_are_compared_by_their_means():
    """Contrast and structure are 1, the luminance is (2 a b + C1) / (a^2 + b^2 + C1)."""
    images = torch.full((2, 3, 176, 176), 100.0, dtype=torch.float64)
    luminance = (2 * 100 * 150 + C1) / (100**2 + 150**2 + C1)
    assert structural_similarity(images, images + 50).tolist() == pytest.approx([luminance] * 2)
    expected = luminance ** SCALE_WEIGHTS[-1]
    assert multiscale_structural_similarity(images, images + 50).tolist() == pytest.approx([expected] * 2)


def test_black_images_are_equal_where_a_range_taken_from_the_data_has_no_answer():
    black = torch.zeros(1, 3, 16, 16, dtype=torch.float64)
    assert structural_similarity(black, black).item() == 1
    assert torch.isnan(structural_similarity_index_measure(black, black))


def test_equal_images_are_as_similar_as_can_be():
    images, _ = pairs(176, 176)
    assert structural_similarity(images, images).tolist() == pytest.approx([1] * 3)
    assert multiscale_structural_similarity(images, images).tolist() == pytest.approx([1] * 3)


def test_a_negative_has_no_similarity_at_any_scale_and_no_nan():
    images, _ = pairs(176, 176)
    assert (structural_similarity(images, 255 - images) < 0).all()
    assert multiscale_structural_similarity(images, 255 - images).tolist() == [0, 0, 0]


def test_five_scales_need_their_size():
    small = torch.zeros(1, 3, 175, 300, dtype=torch.float64)
    with pytest.raises(AssertionError, match="five scales need 176 px"):
        multiscale_structural_similarity(small, small)
    assert MIN_MULTISCALE_PX == 176
