"""DDPM ancestral and DDIM steps, and the loops that sample with them.

Sources: ancestral steps, Ho et al. 2020 (arXiv:2006.11239, eq. 7 and 11); DDIM, Song et al. 2020 (arXiv:2010.02502,
eq. 12 and 16); guidance, Ho & Salimans 2022 (arXiv:2207.12598, eq. 6 with scale = 1 + w).

A sampler knows a denoiser, a function from (x_t, timestep) to `Denoised`, and a plan, the list of `Step`s to take.
Noise comes from a function without arguments that returns a fresh tensor like x_t; it is called only where a step
needs noise, never for the last one. Coefficients are computed in float64.
"""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from models.shared.schedules import Denoised

Denoiser = Callable[[Tensor, int], Denoised]
DrawNoise = Callable[[], Tensor]

SPACINGS = ("leading", "trailing")
VARIANCES = ("fixed_small", "fixed_large")


class Step(NamedTuple):
    """A step from noise level `alpha_bar` at `timestep` to the less noisy `alpha_bar_after` (1: the data)."""

    timestep: int
    alpha_bar: float
    alpha_bar_after: float

    @property
    def beta(self) -> float:
        """Variance that the forward process adds between the two levels."""
        return 1 - self.alpha_bar / self.alpha_bar_after

    @property
    def posterior_variance(self) -> float:
        """Variance of q(x_after | x_t, x_0)."""
        return (1 - self.alpha_bar_after) / (1 - self.alpha_bar) * self.beta


def timestep_grid(num_timesteps: int, num_steps: int, spacing: str) -> list[int]:
    """Timesteps to visit, from noisy to clean.

    Args:
        num_timesteps: T, the number of timesteps that the network knows.
        num_steps: How many of them to visit.
        spacing: `leading` has timestep 0 and, for `num_steps` < T, not T-1; `trailing` has T-1 and not 0.

    Returns:
        `num_steps` strictly decreasing indices in 0 .. T-1.

    Raises:
        ValueError: `num_steps` is not in 1 .. T.
    """
    if not 1 <= num_steps <= num_timesteps:
        raise ValueError(f"sampling_steps must be in 1 .. num_timesteps = {num_timesteps}, got {num_steps}")
    leading = [k * num_timesteps // num_steps for k in range(num_steps)]
    if spacing == "leading":
        return leading[::-1]
    assert spacing == "trailing", f"unknown spacing {spacing!r}"
    return [num_timesteps - 1 - t for t in leading]


def plan(alpha_bars: Tensor, timesteps: list[int]) -> list[Step]:
    """The steps along a grid of timesteps; the last one ends at the data.

    Raises:
        ValueError: The grid is empty, not strictly decreasing, or leaves 0 .. T-1.
    """
    num_timesteps = len(alpha_bars)
    inside = all(0 <= t < num_timesteps for t in timesteps)
    if not timesteps or not inside or any(a <= b for a, b in pairwise(timesteps)):
        raise ValueError(f"timesteps must be strictly decreasing in 0 .. {num_timesteps - 1}, got {timesteps}")
    table = alpha_bars.double().tolist()
    levels = [table[t] for t in timesteps] + [1.0]
    return [Step(t, *pair) for t, pair in zip(timesteps, pairwise(levels), strict=True)]


def ddim_step(denoised: Denoised, step: Step, eta: float, draw_noise: DrawNoise) -> Tensor:
    """One DDIM step.

    Args:
        denoised: What the denoiser says of x_t.
        step: The step to take.
        eta: Share of the noise of an ancestral step, in [0, 1]; 0 is deterministic, 1 is ancestral (`fixed_small`).
        draw_noise: Called only when the step needs noise.

    Returns:
        The less noisy images.
    """
    variance = eta**2 * step.posterior_variance
    x0_part = math.sqrt(step.alpha_bar_after) * denoised.x0
    mean = x0_part + math.sqrt(1 - step.alpha_bar_after - variance) * denoised.epsilon
    return mean + math.sqrt(variance) * draw_noise() if variance > 0 else mean


def posterior_mean(x0: Tensor, x_t: Tensor, step: Step) -> Tensor:
    """Mean of q(x_after | x_t, x_0)."""
    x0_coefficient = math.sqrt(step.alpha_bar_after) * step.beta / (1 - step.alpha_bar)
    x_t_coefficient = math.sqrt(1 - step.beta) * (1 - step.alpha_bar_after) / (1 - step.alpha_bar)
    return x0_coefficient * x0 + x_t_coefficient * x_t


def ancestral_step(x_t: Tensor, denoised: Denoised, step: Step, variance: str, draw_noise: DrawNoise) -> Tensor:
    """One DDPM step: a draw from p(x_after | x_t); the last step returns the mean.

    Args:
        x_t: The noisy images.
        denoised: What the denoiser says of them.
        step: The step to take.
        variance: `fixed_small` (the posterior's) or `fixed_large` (beta).
        draw_noise: Not called by the last step.

    Returns:
        The less noisy images.
    """
    mean = posterior_mean(denoised.x0, x_t, step)
    if step.alpha_bar_after == 1:
        return mean
    return mean + math.sqrt(reverse_variance(step, variance)) * draw_noise()


def reverse_variance(step: Step, variance: str) -> float:
    """Variance of p(x_after | x_t) by the name of the choice."""
    assert variance in VARIANCES, f"unknown variance {variance!r}"
    return step.posterior_variance if variance == "fixed_small" else step.beta


@torch.no_grad()
def sample_ddim(denoise: Denoiser, x: Tensor, steps: list[Step], eta: float, draw_noise: DrawNoise) -> Tensor:
    """Runs DDIM from pure noise `x`; returns images of its shape, not clipped."""
    for step in steps:
        x = ddim_step(denoise(x, step.timestep), step, eta, draw_noise)
    return x


@torch.no_grad()
def sample_ancestral(denoise: Denoiser, x: Tensor, steps: list[Step], variance: str, draw_noise: DrawNoise) -> Tensor:
    """Runs DDPM from pure noise `x`; returns images of its shape, not clipped."""
    for step in steps:
        x = ancestral_step(x, denoise(x, step.timestep), step, variance, draw_noise)
    return x


@torch.no_grad()
def invert_ddim(denoise: Denoiser, x: Tensor, steps: list[Step]) -> Tensor:
    """Noise from which deterministic DDIM (eta 0) over the same steps leads back to the images `x`, approximately.

    Each step runs backwards with the epsilon of the state that it starts from; the error falls with the number of
    steps.
    """
    timestep = steps[-1].timestep
    for step in reversed(steps):
        epsilon = denoise(x, timestep).epsilon
        x0 = (x - math.sqrt(1 - step.alpha_bar_after) * epsilon) / math.sqrt(step.alpha_bar_after)
        x = math.sqrt(step.alpha_bar) * x0 + math.sqrt(1 - step.alpha_bar) * epsilon
        timestep = step.timestep
    return x


def guide(conditional: Tensor, unconditional: Tensor, scale: float) -> Tensor:
    """Classifier-free guidance of network outputs; `scale` 1 is the conditional output, above 1 exaggerates it."""
    return unconditional + scale * (conditional - unconditional)
