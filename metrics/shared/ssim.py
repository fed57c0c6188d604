"""Structural similarity of images, at one scale and at five.

Sources: Wang, Bovik, Sheikh & Simoncelli 2004, Image Quality Assessment, IEEE TIP 13(4), eq. 13 with their constants
(Gaussian window of 11 px and sigma 1.5, K1 0.01, K2 0.03, range 255); Wang, Simoncelli & Bovik 2003, Multi-Scale
Structural Similarity for Image Quality Assessment, Asilomar 37, eq. 7 with the weights of its section 3.2. As in the
authors' code, only windows that lie wholly inside the image count, and an image is halved by the mean of 2 x 2 pixels,
the last row or column of an odd side standing for the missing one.

Differs from them: they are for gray images; here a value is the mean of those of the channels. At scales where the mean
of contrast and structure is negative, its power is taken to be 0, where the authors' code has a complex number.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

RANGE = 255.0
WINDOW_PX = 11
SIGMA_PX = 1.5
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
MIN_MULTISCALE_PX = WINDOW_PX * 2 ** (len(SCALE_WEIGHTS) - 1)


def structural_similarity(one: Tensor, other: Tensor) -> Tensor:
    """Mean SSIM of each image over its channels and inner windows.

    Args:
        one: float64 [n, C, h, w] in [0, 255], sides at least 11.
        other: The same.

    Returns:
        float64 [n], in [-1, 1].
    """
    luminance, structure = _similarities(one, other)
    return (luminance * structure).mean((1, 2, 3))


def multiscale_structural_similarity(one: Tensor, other: Tensor) -> Tensor:
    """Mean MS-SSIM of each image over its channels.

    Args:
        one: float64 [n, C, h, w] in [0, 255], sides at least 176: five scales of an 11-px window.
        other: The same.

    Returns:
        float64 [n], in [0, 1].
    """
    assert min(one.shape[2:]) >= MIN_MULTISCALE_PX, f"five scales need {MIN_MULTISCALE_PX} px, got {one.shape[2:]}"
    value = torch.ones(one.shape[:2], dtype=one.dtype, device=one.device)
    for scale, weight in enumerate(SCALE_WEIGHTS, start=1):
        luminance, structure = _similarities(one, other)
        is_last = scale == len(SCALE_WEIGHTS)
        value = value * (luminance * structure if is_last else structure).mean((2, 3)).clamp(min=0) ** weight
        one, other = _halved(one), _halved(other)
    return value.mean(1)


def _similarities(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Luminance, and contrast with structure, of all windows inside the image, [n, C, h - 10, w - 10] each."""
    c1, c2 = (0.01 * RANGE) ** 2, (0.03 * RANGE) ** 2
    products = (one, other, one * one, other * other, one * other)
    mean1, mean2, square1, square2, product = (_window_means(values) for values in products)
    variance1, variance2 = square1 - mean1 * mean1, square2 - mean2 * mean2
    luminance = (2 * mean1 * mean2 + c1) / (mean1 * mean1 + mean2 * mean2 + c1)
    return luminance, (2 * (product - mean1 * mean2) + c2) / (variance1 + variance2 + c2)


def _window_means(values: Tensor) -> Tensor:
    """Gaussian-weighted means of all windows inside the image, [n, C, h - 10, w - 10]."""
    offset = torch.arange(WINDOW_PX, dtype=values.dtype, device=values.device) - WINDOW_PX // 2
    weights = torch.exp(-offset.square() / (2 * SIGMA_PX**2))
    weights = weights / weights.sum()
    columns = F.conv2d(values.flatten(0, 1)[:, None], weights[None, None, :, None])
    return F.conv2d(columns, weights[None, None, None, :])[:, 0].unflatten(0, values.shape[:2])


def _halved(images: Tensor) -> Tensor:
    """[n, C, h, w] -> [n, C, ceil(h / 2), ceil(w / 2)]."""
    height, width = images.shape[2:]
    return F.avg_pool2d(F.pad(images, (0, width % 2, 0, height % 2), mode="replicate"), 2)
