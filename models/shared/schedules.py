"""Noise schedules of diffusion models, and the arithmetic between epsilon, v and x0.

Sources: linear schedule and q(x_t | x_0), Ho et al. 2020 (arXiv:2006.11239, eq. 4); cosine schedule, Nichol & Dhariwal
2021 (arXiv:2102.09672, eq. 17); v, Salimans & Ho 2022 (arXiv:2202.00512, appendix D); min-SNR weights, Hang et al.
2023 (arXiv:2303.09556, section 3.4).

    x_t = alpha_t x_0 + sigma_t epsilon,    alpha_t^2 = alpha_bar_t,    sigma_t^2 = 1 - alpha_bar_t

Timesteps are indices 0 .. T-1; index t is the paper's t + 1, so index 0 is the least noisy state, not the data. Tables
are float64 and results are cast when they meet the data.
"""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

PREDICTIONS = ("epsilon", "v", "x0")
"""What a network may be trained to output."""


def linear_betas(num_timesteps: int) -> Tensor:
    """Betas evenly spaced from 1e-4 to 0.02 for 1000 timesteps, times 1000/T for T timesteps; float64 [T].

    Raises:
        ValueError: There are so few timesteps that a beta would reach 1.
    """
    scale = 1000 / num_timesteps
    if 0.02 * scale >= 1:
        raise ValueError(f"num_timesteps must be at least 21 for the linear schedule, got {num_timesteps}")
    return torch.linspace(1e-4 * scale, 0.02 * scale, num_timesteps, dtype=torch.float64)


def cosine_betas(num_timesteps: int, offset: float = 0.008, max_beta: float = 0.999) -> Tensor:
    """Betas for which alpha_bar falls as a squared cosine, each at most `max_beta`; float64 [T]."""

    def alpha_bar(fraction: float) -> float:
        return math.cos((fraction + offset) / (1 + offset) * math.pi / 2) ** 2

    levels = [alpha_bar(t / num_timesteps) for t in range(num_timesteps + 1)]
    betas = [min(1 - after / before, max_beta) for before, after in pairwise(levels)]
    return torch.tensor(betas, dtype=torch.float64)


SCHEDULES = {"linear": linear_betas, "cosine": cosine_betas}
"""Betas of T timesteps, by the name of the schedule."""


class NoiseSchedule(nn.Module):
    """The tables of q(x_t | x_0).

    They follow the device that a model is moved to, stay float64 also when it is cast, and are not part of the state
    dict.

    Attributes:
        alpha_bars: float64 [T], strictly decreasing, in (0, 1).
    """

    alpha_bars: Tensor

    def __init__(self, betas: Tensor) -> None:
        super().__init__()
        self.register_buffer("alpha_bars", torch.cumprod(1 - betas.double(), dim=0), persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "NoiseSchedule":
        device = fn(torch.empty(0, device=self.alpha_bars.device)).device
        self.alpha_bars = self.alpha_bars.to(device)
        return self

    def coefficients(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """alpha_t and sigma_t of timesteps int64 [B]; each float32 [B, 1, 1, 1]."""
        alpha_bar = self.alpha_bars[t].reshape(-1, 1, 1, 1)
        return alpha_bar.sqrt().float(), (1 - alpha_bar).sqrt().float()

    def snr(self, t: Tensor) -> Tensor:
        """Signal-to-noise ratio alpha_t^2 / sigma_t^2 of timesteps int64 [B]; float64 [B]."""
        alpha_bar = self.alpha_bars[t]
        return alpha_bar / (1 - alpha_bar)


class Denoised(NamedTuple):
    """What a denoiser says of x_t: x_t = alpha_t x0 + sigma_t epsilon.

    Attributes:
        x0: Estimate of the clean images, the shape of x_t.
        epsilon: Estimate of the noise, the shape of x_t.
    """

    x0: Tensor
    epsilon: Tensor


def prediction_target(
    prediction: str, x0: Tensor, epsilon: Tensor, alpha: Tensor | float, sigma: Tensor | float
) -> Tensor:
    """What a network with this `prediction` should output at x_t = alpha x0 + sigma epsilon."""
    match prediction:
        case "epsilon":
            return epsilon
        case "v":
            return alpha * epsilon - sigma * x0
        case "x0":
            return x0
    raise AssertionError(f"unknown prediction {prediction!r}")


def to_denoised(prediction: str, output: Tensor, x_t: Tensor, alpha: Tensor | float, sigma: Tensor | float) -> Denoised:
    """Estimates of x0 and epsilon from a network's output at x_t."""
    match prediction:
        case "epsilon":
            return Denoised((x_t - sigma * output) / alpha, output)
        case "v":
            return Denoised(alpha * x_t - sigma * output, alpha * output + sigma * x_t)
        case "x0":
            return Denoised(output, (x_t - alpha * output) / sigma)
    raise AssertionError(f"unknown prediction {prediction!r}")


def clip_denoised(denoised: Denoised, x_t: Tensor, alpha: Tensor | float, sigma: Tensor | float) -> Denoised:
    """Clips x0 to [-1, 1] and derives epsilon anew, so that the two still explain x_t."""
    return to_denoised("x0", denoised.x0.clamp(-1, 1), x_t, alpha, sigma)


def min_snr_weight(prediction: str, snr: Tensor, gamma: float) -> Tensor:
    """Weight of the squared error of the network's output that equals min(SNR, gamma) on the squared error of x0.

    Args:
        prediction: What the network outputs.
        snr: float64 [B], positive.
        gamma: Positive.

    Returns:
        float32 [B].
    """
    x0_weight = snr.clamp(max=gamma)
    match prediction:
        case "epsilon":
            weight = x0_weight / snr
        case "v":
            weight = x0_weight / (snr + 1)
        case "x0":
            weight = x0_weight
        case _:
            raise AssertionError(f"unknown prediction {prediction!r}")
    return weight.float()
