"""How near reconstructions are to their images: PSNR, SSIM and MS-SSIM.

Source: Wang, Bovik, Sheikh & Simoncelli 2004, Image Quality Assessment, IEEE TIP 13(4) (SSIM); Wang, Simoncelli & Bovik
2003, Asilomar 37 (MS-SSIM); `metrics.shared.ssim` has the arithmetic. torchmetrics' SSIM averages over mirrored borders
too, which moves it by 0.0004 to 0.004 on a noisy photograph of 256 px, so it is not used.

Keys: `psnr` of the mean squared error over all images (what "PSNR of a test set" is in most papers on autoencoders),
`psnr_per_image` (the mean of each image's own), `ssim`, and `ms_ssim`. Two images of 20 and 60 dB have 23 pooled and 40
by the mean. `ms_ssim` needs five scales of an 11-px window: it is left out where an image has a side below 176 px.

Differs from the usual: an image that equals its reconstruction would have an infinite PSNR. Its mean squared error is
taken to be that of one value that is off by one level, the least error that differs from none.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from metrics.shared.bootstrap import Resampling, bootstrap_estimate, resampled_means
from metrics.shared.metric import EvidenceMetric, Score
from metrics.shared.pairs import check_reconstructions
from metrics.shared.ssim import (
    MIN_MULTISCALE_PX,
    RANGE,
    WINDOW_PX,
    multiscale_structural_similarity,
    structural_similarity,
)

TOO_SMALL = -1.0  # in place of an MS-SSIM, which is in [0, 1]
BLOCK_VALUES = 4_000_000  # of the images that are compared at once


@dataclass(frozen=True, kw_only=True, slots=True)
class Config(Resampling):
    """Settings: those of the bootstrap."""


class Metric(EvidenceMetric):
    """PSNR, SSIM and MS-SSIM; keeps four numbers per image."""

    inputs = ("images", "reconstructions")

    def __init__(self, config: Config) -> None:
        super().__init__("squared_error", "ssim", "ms_ssim", "num_values")
        self.config = config

    def update(self, *, images: Tensor, reconstructions: Tensor) -> None:
        """Adds images and their reconstructions, uint8 [n, 3, h, w] each.

        Raises:
            ValueError: The images are smaller than SSIM's window.
        """
        check_reconstructions(images, reconstructions)
        if min(images.shape[2:]) < WINDOW_PX:
            raise ValueError(f"reconstruction: images must be at least {WINDOW_PX} px, got {tuple(images.shape[2:])}")
        num_values = images.shape[1:].numel()
        size = max(1, BLOCK_VALUES // num_values)
        for pair in zip(images.split(size), reconstructions.split(size), strict=True):
            first, second = (each.double() for each in pair)
            is_large = min(first.shape[2:]) >= MIN_MULTISCALE_PX
            too_small = first.new_full((len(first),), TOO_SMALL)
            self.append("squared_error", (first - second).square().mean((1, 2, 3)), torch.float64)
            self.append("ssim", structural_similarity(first, second), torch.float64)
            ms_ssim = multiscale_structural_similarity(first, second) if is_large else too_small
            self.append("ms_ssim", ms_ssim, torch.float64)
            self.append("num_values", torch.full((len(first),), num_values), torch.int64)

    def score(self) -> Score:
        """All results; per image, its squared error and what the other results are means of."""
        error, ssim, ms_ssim, num_values = (
            self.rows(name).cpu().numpy() for name in ("squared_error", "ssim", "ms_ssim", "num_values")
        )
        num_small = int((ms_ssim == TOO_SMALL).sum())
        floor = 1 / num_values.sum()
        means = {"psnr_per_image": _psnr(np.maximum(error, 1 / num_values)), "ssim": ssim}
        if not num_small:
            means["ms_ssim"] = ms_ssim
        resampled = resampled_means(np.stack([error, *means.values()], axis=1), np.arange(len(error)), self.config)
        resampled[:, 0] = _psnr(np.maximum(resampled[:, 0], floor))
        values = {"psnr": _psnr(max(error.mean(), floor)), **{key: each.mean() for key, each in means.items()}}
        return Score(
            estimates={
                key: bootstrap_estimate(value, resampled[:, column], n=len(error), higher_is_better=True)
                for column, (key, value) in enumerate(values.items())
            },
            per_sample={"squared_error": error, **means},
            protocol={
                "metric": "reconstruction",
                "estimator": "uint8 RGB; ssim gaussian 11 px sigma 1.5, inner windows; percentile bootstrap of images",
                "ms_ssim": f"left out, {num_small} images below {MIN_MULTISCALE_PX} px" if num_small else "five scales",
                "num_values": int(num_values.sum()),
                "num_images": len(error),
                "num_resamples": self.config.num_resamples,
                "seed": self.config.seed,
            },
        )


def _psnr(squared_error: np.ndarray) -> np.ndarray:
    """Peak signal-to-noise ratio in dB."""
    return 10 * np.log10(RANGE**2 / squared_error)
