"""How near reconstructions are to their images: PSNR and SSIM.

Source: Wang, Bovik, Sheikh & Simoncelli 2004, Image Quality Assessment, IEEE TIP 13(4), eq. 13 with their constants
(Gaussian window of 11 px and sigma 1.5, K1 0.01, K2 0.03, range 255) and, as in their code, only windows that lie
wholly inside the image; the mean of the three channels. torchmetrics' SSIM averages over mirrored borders too, which
moves it by 0.0004 to 0.004 on a noisy photograph of 256 px, so it is not used.

Keys: `psnr` of the mean squared error over all images (what "PSNR of a test set" is in most papers on autoencoders),
`psnr_per_image` (the mean of each image's own), `ssim`. Two images of 20 and 60 dB have 23 pooled and 40 by the mean.

Differs from the usual: an image that equals its reconstruction would have an infinite PSNR. Its mean squared error is
taken to be that of one value that is off by one level, the least error that differs from none.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from metrics.shared.bootstrap import Resampling, bootstrap_estimate, resampled_means
from metrics.shared.metric import EvidenceMetric, Score

RANGE = 255.0
WINDOW_PX = 11
SIGMA_PX = 1.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Config(Resampling):
    """Settings: those of the bootstrap."""


class Metric(EvidenceMetric):
    """PSNR and SSIM; keeps two numbers per image."""

    inputs = ("images", "reconstructions")

    def __init__(self, config: Config) -> None:
        super().__init__("squared_error", "ssim", "num_values")
        self.config = config

    def update(self, *, images: Tensor, reconstructions: Tensor) -> None:
        """Adds images and their reconstructions, uint8 [n, 3, h, w] each.

        Raises:
            ValueError: The images are smaller than SSIM's window.
        """
        assert images.dtype == reconstructions.dtype == torch.uint8 and images.shape == reconstructions.shape, (
            f"images and reconstructions must be uint8 of one shape, got {images.dtype} {tuple(images.shape)}, "
            f"{reconstructions.dtype} {tuple(reconstructions.shape)}"
        )
        if min(images.shape[2:]) < WINDOW_PX:
            raise ValueError(f"reconstruction: images must be at least {WINDOW_PX} px, got {tuple(images.shape[2:])}")
        first, second = images.double(), reconstructions.double()
        self.append("squared_error", (first - second).square().mean((1, 2, 3)), torch.float64)
        self.append("ssim", structural_similarity(first, second), torch.float64)
        self.append("num_values", torch.full((len(images),), images[0].numel()), torch.int64)

    def score(self) -> Score:
        """All three results; per image, its own PSNR, squared error and SSIM."""
        error, ssim, num_values = (self.rows(name).cpu().numpy() for name in ("squared_error", "ssim", "num_values"))
        own_psnr = _psnr(np.maximum(error, 1 / num_values))
        floor = 1 / num_values.sum()
        resampled = resampled_means(np.stack([error, own_psnr, ssim], axis=1), np.arange(len(error)), self.config)
        resampled[:, 0] = _psnr(np.maximum(resampled[:, 0], floor))
        values = {"psnr": _psnr(max(error.mean(), floor)), "psnr_per_image": own_psnr.mean(), "ssim": ssim.mean()}
        return Score(
            estimates={
                key: bootstrap_estimate(value, resampled[:, column], n=len(error), higher_is_better=True)
                for column, (key, value) in enumerate(values.items())
            },
            per_sample={"squared_error": error, "psnr_per_image": own_psnr, "ssim": ssim},
            protocol={
                "metric": "reconstruction",
                "estimator": "uint8 RGB; ssim gaussian 11 px sigma 1.5, inner windows; percentile bootstrap of images",
                "num_values": int(num_values.sum()),
                "num_images": len(error),
                "num_resamples": self.config.num_resamples,
                "seed": self.config.seed,
            },
        )


def structural_similarity(one: Tensor, other: Tensor) -> Tensor:
    """Mean SSIM of each image over its channels and inner windows.

    Args:
        one: float64 [n, C, h, w] in [0, 255], sides at least 11.
        other: The same.

    Returns:
        float64 [n].
    """
    c1, c2 = (0.01 * RANGE) ** 2, (0.03 * RANGE) ** 2
    products = (one, other, one * one, other * other, one * other)
    mean1, mean2, square1, square2, product = (_window_means(values) for values in products)
    variance1, variance2 = square1 - mean1 * mean1, square2 - mean2 * mean2
    luminance = (2 * mean1 * mean2 + c1) / (mean1 * mean1 + mean2 * mean2 + c1)
    structure = (2 * (product - mean1 * mean2) + c2) / (variance1 + variance2 + c2)
    return (luminance * structure).mean((1, 2, 3))


def _window_means(values: Tensor) -> Tensor:
    """Gaussian-weighted means of all windows inside the image, [n, C, h - 10, w - 10]."""
    offset = torch.arange(WINDOW_PX, dtype=values.dtype, device=values.device) - WINDOW_PX // 2
    weights = torch.exp(-offset.square() / (2 * SIGMA_PX**2))
    weights = weights / weights.sum()
    columns = F.conv2d(values.flatten(0, 1)[:, None], weights[None, None, :, None])
    return F.conv2d(columns, weights[None, None, None, :])[:, 0].unflatten(0, values.shape[:2])


def _psnr(squared_error: np.ndarray) -> np.ndarray:
    """Peak signal-to-noise ratio in dB."""
    return 10 * np.log10(RANGE**2 / squared_error)
