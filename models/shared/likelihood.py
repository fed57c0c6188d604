"""Likelihood arithmetic of generative models: Gaussian KL, the discretised decoder, bits per dimension, DDPM's bound.

Sources: bound of Sohl-Dickstein et al. 2015 (arXiv:1503.03585) in the form of Ho et al. 2020 (arXiv:2006.11239, eq. 5);
discretised decoder, eq. 13 there.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from models.shared.samplers import Denoiser, DrawNoise, Step, posterior_mean, reverse_variance

HALF_BIN = 1 / 255
"""Half the distance of neighbouring 8-bit values that are mapped to [-1, 1]."""


def gaussian_kl(mean: Tensor, log_variance: Tensor, other_mean: Tensor, other_log_variance: Tensor) -> Tensor:
    """KL(N(mean, variance) || N(other_mean, other_variance)) in nats, element by element."""
    log_ratio = log_variance - other_log_variance
    squared = (mean - other_mean) ** 2 * torch.exp(-other_log_variance)
    return 0.5 * (squared + torch.exp(log_ratio) - 1 - log_ratio)


def discretized_gaussian_log_prob(x: Tensor, mean: Tensor, log_sigma: Tensor) -> Tensor:
    """Log-probability, in nats, of an 8-bit value under a normal distribution that is cut into 256 bins.

    The outer bins are open, so the probabilities of the 256 values sum to 1. Computed in float64: PyTorch's gradient of
    `log_ndtr` is off by some percent a thousand sigmas away in float32.

    Args:
        x: 8-bit values mapped to [-1, 1].
        mean: Means, of the shape of `x`.
        log_sigma: Logarithm of the standard deviation; broadcasts.

    Returns:
        Values <= 0, of the shape of `x` and the dtype of `mean`; finite in value and gradient also far in the tails.
    """
    error, scale = x.double() - mean.double(), torch.exp(-log_sigma.double())
    lower, upper = (error - HALF_BIN) * scale, (error + HALF_BIN) * scale
    is_outer = x.abs() > 1 - HALF_BIN
    # log_ndtr keeps its precision in the left tail, so bins right of the mean are mirrored to the left.
    mirrored = torch.where(is_outer, x, error) > 0
    lower, upper = torch.where(mirrored, -upper, lower), torch.where(mirrored, -lower, upper)
    log_below_upper = torch.special.log_ndtr(upper)
    log_ratio = torch.where(is_outer, -1.0, torch.special.log_ndtr(lower) - log_below_upper)
    log_above_lower = torch.where(is_outer, 0.0, torch.log(-torch.expm1(log_ratio)))
    return (log_below_upper + log_above_lower).to(mean.dtype)


def bits_per_dim(nats: Tensor, num_dims: int) -> Tensor:
    """Nats per image as bits per dimension (a dimension is one channel of one pixel)."""
    return nats / (num_dims * math.log(2))


class BoundTerms(NamedTuple):
    """Terms of the variational bound on -log p(x_0), each in bits per dimension, float32.

    Attributes:
        prior: [B]; L_T, from q(x_T | x_0) to N(0, I).
        transitions: [B, T-1]; L_1 .. L_{T-1}, in the order of the time that they lead to.
        decoder: [B]; L_0, of the discretised decoder.
    """

    prior: Tensor
    transitions: Tensor
    decoder: Tensor

    def total(self) -> Tensor:
        """The bound, [B]."""
        return self.prior + self.transitions.sum(dim=1) + self.decoder


@torch.no_grad()
def diffusion_bound(
    denoise: Denoiser, x0: Tensor, steps: list[Step], variance: str, draw_noise: DrawNoise
) -> BoundTerms:
    """The bound with one draw of x_t per image and timestep.

    Args:
        denoise: The denoiser.
        x0: 8-bit images mapped to [-1, 1], float32 [B, C, H, W].
        steps: The plan over all T timesteps (over fewer, it is the bound of the respaced model).
        variance: `fixed_small` or `fixed_large`. The decoder has, with both, the posterior variance of the step before
            it, as in the authors' code (its own posterior variance is 0).
        draw_noise: Fresh standard normal noise like `x0`; called once per timestep, from T-1 down to 0.

    Returns:
        The terms.
    """
    assert len(steps) > 1, "the bound needs two timesteps"
    transitions = []
    for step in steps[:-1]:
        x_t = math.sqrt(step.alpha_bar) * x0 + math.sqrt(1 - step.alpha_bar) * draw_noise()
        transitions.append(_transition_kl(denoise(x_t, step.timestep).x0 - x0, step, variance))
    last = steps[-1]
    x_1 = math.sqrt(last.alpha_bar) * x0 + math.sqrt(1 - last.alpha_bar) * draw_noise()
    mean = posterior_mean(denoise(x_1, last.timestep).x0, x_1, last)
    log_sigma = torch.tensor(0.5 * math.log(steps[-2].posterior_variance), device=x0.device)
    decoder = -discretized_gaussian_log_prob(x0, mean, log_sigma)
    terms = [_prior_kl(x0, steps[0].alpha_bar), torch.stack(transitions[::-1], dim=1), decoder.flatten(1).mean(1)]
    return BoundTerms(*(term / math.log(2) for term in terms))


def _transition_kl(x0_error: Tensor, step: Step, variance: str) -> Tensor:
    """KL of the posterior from the reverse step in nats per dimension, [B]; their means differ by the error of x0."""
    reverse = reverse_variance(step, variance)
    ratio = step.posterior_variance / reverse
    x0_coefficient = math.sqrt(step.alpha_bar_after) * step.beta / (1 - step.alpha_bar)
    squared_error = (x0_error**2).flatten(1).mean(1)
    return 0.5 * (x0_coefficient**2 / reverse * squared_error + ratio - 1 - math.log(ratio))


def _prior_kl(x0: Tensor, alpha_bar: float) -> Tensor:
    """KL of q(x_T | x_0) from N(0, I) in nats per dimension, [B]."""
    return 0.5 * (alpha_bar * (x0**2).flatten(1).mean(1) - alpha_bar - math.log1p(-alpha_bar))
