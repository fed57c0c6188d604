"""Bits per dimension: how many bits a model needs for each value of a test image.

Source: Theis, van den Oord & Bethge 2016, arXiv:1511.01844, section 3.1 (log-likelihood of discrete pixels, in bits per
dimension); Ho et al. 2020, arXiv:2006.11239 (of a variational bound).

Key: `bits_per_dim`, the mean over images of -log2 p(image) / (number of its values); lower is better. Eight bits are
what a model needs that finds all values of 8 bits equally likely.

The likelihood must be that of the 8-bit values: a probability, so never above 1. That of a density over values scaled
to [-1, 1] is another number; for uniformly dequantised values it becomes a bound of this one by adding log(2/256) nats
per value, and for values in [0, 1] by log(1/256).

Many models know only a lower bound of the log-likelihood, by which the value here is an upper bound. `likelihood` says
which it is, and is a part of the protocol: an upper bound above another model's exact value does not show that the
model is worse.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from metrics.shared.bootstrap import Resampling, bootstrap_estimate, resampled_means
from metrics.shared.metric import EvidenceMetric, Score

LIKELIHOODS = {"exact": "exact", "bound": "lower bound, so that the value is an upper bound"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Config(Resampling):
    """Settings, besides those of the bootstrap.

    Attributes:
        likelihood: What the model's `log_likelihood` is: `exact`, or a lower `bound` (a VAE's, a diffusion model's).
    """

    likelihood: str = "bound"

    def __post_init__(self) -> None:
        Resampling.__post_init__(self)
        if self.likelihood not in LIKELIHOODS:
            raise ValueError(f"likelihood must be one of {', '.join(LIKELIHOODS)}, got {self.likelihood!r}")


class Metric(EvidenceMetric):
    """Bits per dimension; keeps two numbers per image."""

    inputs = ("log_likelihoods", "num_values")

    def __init__(self, config: Config) -> None:
        super().__init__(*self.inputs)
        self.config = config

    def update(self, *, log_likelihoods: Tensor, num_values: Tensor) -> None:
        """Adds log-likelihoods of 8-bit images in nats, float64 [n], and their numbers of values, int64 [n]."""
        assert log_likelihoods.ndim == 1 and log_likelihoods.shape == num_values.shape, (
            f"log_likelihoods and num_values must be [n], got {log_likelihoods.shape} and {num_values.shape}"
        )
        assert log_likelihoods.dtype == torch.float64, f"log_likelihoods must be float64, got {log_likelihoods.dtype}"
        assert bool((log_likelihoods <= 0).all()), "a log-likelihood above 0 is that of a density, not of 8-bit values"
        assert bool((num_values > 0).all()), "an image has at least one value"
        self.append("log_likelihoods", log_likelihoods, torch.float64)
        self.append("num_values", num_values, torch.int64)

    def score(self) -> Score:
        """The result; per image, its own bits per dimension."""
        nats, num_values = (self.rows(name).cpu().numpy() for name in self.inputs)
        bits = -nats / (num_values * math.log(2))
        resampled = resampled_means(bits, np.arange(len(bits)), self.config)
        return Score(
            estimates={"bits_per_dim": bootstrap_estimate(bits.mean(), resampled, n=len(bits), higher_is_better=False)},
            per_sample={"bits_per_dim": bits},
            protocol={
                "metric": "bits_per_dim",
                "estimator": "mean over images of -log2 p of 8-bit values / values; percentile bootstrap of images",
                "likelihood": LIKELIHOODS[self.config.likelihood],
                "num_values": int(num_values.sum()),
                "num_images": len(bits),
                "num_resamples": self.config.num_resamples,
                "seed": self.config.seed,
            },
        )
