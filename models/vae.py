"""Variational autoencoder with a convolutional encoder and decoder.

Source: Kingma & Welling 2013 (arXiv:1312.6114): the estimator of eq. 7 with the analytic KL of appendix B.

    loss = (-log p(x|z) + beta * KL(q(z|x) || N(0, I))) / (D ln 2),    averaged over the batch

Reduction: log p(x|z) is summed over all D = 3 * H * W dimensions and the KL over all latent dimensions of an image, so
beta is what the paper means by it (1: the bound itself); the sum is then expressed in bits per dimension.

Likelihood: each 8-bit channel value has a normal distribution around the decoder's output, cut into 256 bins
(Ho et al. 2020, arXiv:2006.11239, eq. 13). Its sigma is one learned number for all pixels (Rybkin et al. 2020,
arXiv:2006.13202, section 3.1). Probabilities of discrete values are at most 1, so bits per dimension are well defined,
cannot run off to minus infinity on blank backgrounds, and compare with DDPM's.

Differs from the paper:
- Residual convolutional networks, wired like the autoencoder of latent diffusion (arXiv:2112.10752), in place of one
  hidden layer; latents are maps of `latent_channels`.
- Optional beta (Higgins et al. 2017) and linear KL warm-up (Soenderby et al. 2016, arXiv:1602.02282).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from models import Batch
from models.shared.blocks import Downsample, Head, Middle, ResidualBlock, Upsample, conv
from models.shared.checks import require
from models.shared.likelihood import bits_per_dim, discretized_gaussian_log_prob, gaussian_kl
from models.shared.noise import batch_normal, sample_normal

MIN_LOG_VARIANCE, MAX_LOG_VARIANCE = -30.0, 20.0
COLLAPSED_KL_NATS = 0.01


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Settings of the VAE.

    Attributes:
        image_px: Side of the images, a power of two.
        width: Channels at full resolution, a multiple of `num_groups`.
        channel_multipliers: Multiple of `width` by level; each level but the first has half the resolution before it,
            so latents have a side of image_px / 2^(levels - 1).
        num_res_blocks: Residual blocks per level of the encoder; one more in the decoder.
        num_groups: Groups of every group normalisation.
        latent_channels: Channels of the latents.
        beta: Weight of the KL, not negative.
        kl_warmup_steps: Optimizer steps in which the weight of the KL rises linearly from 0 to `beta`; 0 for none.
        initial_sigma: Standard deviation of a pixel, in units of [-1, 1], before training.
    """

    image_px: int = 64
    width: int = 64
    channel_multipliers: tuple[int, ...] = (1, 2, 4, 4)
    num_res_blocks: int = 1
    num_groups: int = 16
    latent_channels: int = 16
    beta: float = 1.0
    kl_warmup_steps: int = 0
    initial_sigma: float = 0.3

    def __post_init__(self) -> None:
        multipliers = self.channel_multipliers
        require(len(multipliers) > 0 and min(multipliers) > 0, "channel_multipliers", multipliers, "positive integers")
        is_power = self.image_px > 0 and self.image_px.bit_count() == 1
        allowed = f"a power of two, at least 2^(levels - 1) = {2 ** (len(multipliers) - 1)}"
        require(is_power and self.latent_px > 0, "image_px", self.image_px, allowed)
        require(self.num_groups > 0, "num_groups", self.num_groups, "positive")
        is_multiple = self.width > 0 and self.width % self.num_groups == 0
        require(is_multiple, "width", self.width, f"a positive multiple of num_groups = {self.num_groups}")
        require(self.num_res_blocks > 0, "num_res_blocks", self.num_res_blocks, "positive")
        require(self.latent_channels > 0, "latent_channels", self.latent_channels, "positive")
        require(self.beta >= 0, "beta", self.beta, "at least 0")
        require(self.kl_warmup_steps >= 0, "kl_warmup_steps", self.kl_warmup_steps, "at least 0")
        require(self.initial_sigma > 0, "initial_sigma", self.initial_sigma, "positive")

    @property
    def latent_px(self) -> int:
        """Side of the latents."""
        return self.image_px >> (len(self.channel_multipliers) - 1)

    @property
    def widths(self) -> list[int]:
        """Channels by level."""
        return [self.width * multiplier for multiplier in self.channel_multipliers]


def build_encoder(config: Config) -> nn.Sequential:
    """Network from images [B, 3, H, W] to mean and log-variance, [B, 2 * latent_channels, h, w]."""
    channels = config.width
    layers: list[nn.Module] = [conv(3, channels)]
    for level, width in enumerate(config.widths):
        for _ in range(config.num_res_blocks):
            layers.append(ResidualBlock(channels, width, config.num_groups))
            channels = width
        if level < len(config.widths) - 1:
            layers.append(Downsample(channels))
    head = Head(channels, 2 * config.latent_channels, config.num_groups, zero=False)
    return nn.Sequential(*layers, Middle(channels, config.num_groups), head)


def build_decoder(config: Config) -> nn.Sequential:
    """Network from latents [B, latent_channels, h, w] to the mean of the pixels, [B, 3, H, W]."""
    channels = config.widths[-1]
    layers: list[nn.Module] = [conv(config.latent_channels, channels), Middle(channels, config.num_groups)]
    for level, width in reversed(list(enumerate(config.widths))):
        for _ in range(config.num_res_blocks + 1):
            layers.append(ResidualBlock(channels, width, config.num_groups))
            channels = width
        if level > 0:
            layers.append(Upsample(channels))
    return nn.Sequential(*layers, Head(channels, 3, config.num_groups, zero=False))


def reparameterize(mean: Tensor, log_variance: Tensor, noise: Tensor) -> Tensor:
    """A draw from N(mean, exp(log_variance)) that passes gradients to both."""
    return mean + torch.exp(0.5 * log_variance) * noise


class Model(nn.Module):
    """The VAE; trains `main` on `image`.

    Attributes:
        conditional: False; captions are ignored.
        latent_channels: Channels of the latents.
        latent_px: Side of the latents.
    """

    conditional = False
    batch_keys = ("image",)
    num_steps: Tensor

    def __init__(self, config: Config, bases: Mapping[str, nn.Module]) -> None:
        super().__init__()
        require(not bases, "bases", sorted(bases), "empty for vae")
        self.config = config
        self.image_px = config.image_px
        self.latent_channels, self.latent_px = config.latent_channels, config.latent_px
        self.encoder = build_encoder(config)
        self.decoder = build_decoder(config)
        self.log_sigma = nn.Parameter(torch.tensor(math.log(config.initial_sigma)))
        self.register_buffer("num_steps", torch.zeros((), dtype=torch.int64))

    def posterior(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z|x), each float32 [B, latent_channels, latent_px, latent_px]."""
        mean, log_variance = self.encoder(image).float().chunk(2, dim=1)
        return mean, log_variance.clamp(MIN_LOG_VARIANCE, MAX_LOG_VARIANCE)

    def log_prob_given_latent(self, image: Tensor, z: Tensor) -> Tensor:
        """Logarithm of p(x|z) of 8-bit images mapped to [-1, 1], in nats per image, [B]."""
        mean = self.decoder(z).float()
        return discretized_gaussian_log_prob(image, mean, self.log_sigma).flatten(1).sum(1)

    def kl_weight(self) -> Tensor:
        """Weight of the KL after the steps taken so far."""
        if self.config.kl_warmup_steps == 0:
            return torch.full_like(self.log_sigma, self.config.beta, requires_grad=False)
        return self.config.beta * (self.num_steps / self.config.kl_warmup_steps).clamp(max=1)

    def training_step(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """The loss, and its parts in bits per dimension: `distortion`, `rate` (the KL, not weighted).

        `collapsed_frac` is the share of latent dimensions whose KL, averaged over the batch, is below 0.01 nats.
        """
        image = batch["image"]
        mean, log_variance = self.posterior(image)
        z = reparameterize(mean, log_variance, batch_normal(mean.shape, generator, mean.device))
        kl = gaussian_kl(mean, log_variance, torch.zeros_like(mean), torch.zeros_like(mean)).flatten(1)
        num_dims = image[0].numel()
        distortion = bits_per_dim(-self.log_prob_given_latent(image, z), num_dims).mean()
        rate = bits_per_dim(kl.sum(1), num_dims).mean()
        return {
            "main": distortion + self.kl_weight() * rate,
            "main/distortion": distortion.detach(),
            "main/rate": rate.detach(),
            "main/collapsed_frac": (kl.detach().mean(0) < COLLAPSED_KL_NATS).float().mean(),
        }

    def after_step(self) -> None:
        """Counts the optimizer step, for the KL warm-up."""
        self.num_steps += 1

    @torch.no_grad()
    def encode_latent(self, image: Tensor) -> Tensor:
        """Mean of q(z|x) of images in [-1, 1]; float32 [B, latent_channels, latent_px, latent_px]."""
        return self.posterior(image)[0]

    @torch.no_grad()
    def decode_latent(self, z: Tensor) -> Tensor:
        """Latents [B, latent_channels, latent_px, latent_px] -> mean of the pixels, float32 [B, 3, H, W] in [-1, 1]."""
        return self.decoder(z).float().clamp(-1, 1)

    def reconstruct(self, image: Tensor) -> Tensor:
        """Decodes the posterior mean of float32 [B, 3, H, W] in [-1, 1]; the same shape and range."""
        return self.decode_latent(self.encode_latent(image))

    def generate(self, captions: Sequence[str], generators: Sequence[torch.Generator], **sampling: Any) -> Tensor:
        """Decodes draws from the prior; one image per generator, float32 [B, 3, H, W] in [-1, 1].

        Args:
            captions: Ignored, one per image.
            generators: Image i comes from generator i alone.
            **sampling: None are known.

        Raises:
            ValueError: A sampling setting is given.
        """
        assert len(captions) == len(generators), "one generator per caption"
        require(not sampling, "sampling settings", sorted(sampling), "empty for vae")
        shape = (self.latent_channels, self.latent_px, self.latent_px)
        return self.decode_latent(sample_normal(shape, generators, self.log_sigma.device))

    @torch.no_grad()
    def log_likelihood(self, image: Tensor, generators: Sequence[torch.Generator], num_samples: int = 1) -> Tensor:
        """Lower bound on log p(x) by importance sampling (Burda et al. 2015, arXiv:1509.00519, eq. 8).

        Args:
            image: 8-bit images mapped to [-1, 1], float32 [B, 3, H, W].
            generators: The draws for image i come from generator i alone.
            num_samples: Importance samples per image; 1 is an estimate of the ELBO, more make it tighter.

        Returns:
            Nats per image, float32 [B].
        """
        mean, log_variance = self.posterior(image)
        log_weights = []
        for _ in range(num_samples):
            noise = sample_normal(mean.shape[1:], generators, mean.device)
            z = reparameterize(mean, log_variance, noise)
            log_prior_ratio = 0.5 * (noise**2 - z**2 + log_variance).flatten(1).sum(1)
            log_weights.append(self.log_prob_given_latent(image, z) + log_prior_ratio)
        return torch.logsumexp(torch.stack(log_weights), dim=0) - math.log(num_samples)
