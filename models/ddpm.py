"""Denoising diffusion in pixel space, sampled by DDPM's ancestral steps or by DDIM, optionally with text.

Sources: Ho et al. 2020 (arXiv:2006.11239): q(x_t|x_0) of eq. 4, the loss of eq. 14, the sampler of algorithm 2, the
bound of eq. 5. Song et al. 2020 (arXiv:2010.02502): the sampler of eq. 12. Nichol & Dhariwal 2021 (arXiv:2102.09672):
the cosine schedule. Salimans & Ho 2022 (arXiv:2202.00512): v-prediction. Hang et al. 2023 (arXiv:2303.09556): min-SNR
weights. Ho & Salimans 2022 (arXiv:2207.12598): classifier-free guidance.

Reduction: the squared error is averaged over the channels and pixels of an image, then weighted, then averaged over
the batch.

Differs from the papers:
- Text: the embedding of a frozen text encoder is projected and added to the time embedding, as class labels are in
  guided diffusion (arXiv:2105.05233); no attention to tokens.
- Fewer than 21 timesteps are refused with the linear schedule, whose betas are scaled by 1000 / num_timesteps.
- In shortened ancestral sampling, `fixed_large` and `fixed_small` use the beta between the visited timesteps.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from models import Batch, TextEncoder
from models.shared.blocks import linear
from models.shared.checks import require, require_one_of
from models.shared.frozen import Frozen
from models.shared.likelihood import BoundTerms, diffusion_bound
from models.shared.noise import batch_normal, sample_normal, seeded_by
from models.shared.samplers import (
    SPACINGS,
    VARIANCES,
    Denoiser,
    guide,
    plan,
    sample_ancestral,
    sample_ddim,
    timestep_grid,
)
from models.shared.schedules import (
    PREDICTIONS,
    SCHEDULES,
    Denoised,
    NoiseSchedule,
    clip_denoised,
    min_snr_weight,
    prediction_target,
    to_denoised,
)
from models.shared.unet import UNet, UNetConfig

SAMPLING_SETTINGS = frozenset({"sampler", "sampling_steps", "spacing", "eta", "variance", "clip", "guidance"})
"""Settings that `generate` accepts in place of the configured ones."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Settings of DDPM.

    Attributes:
        image_px: Side of the images, a multiple of 2^(levels - 1).
        width: Channels at full resolution, a multiple of `num_groups`.
        channel_multipliers: Multiple of `width` by level; each level but the first has half the resolution before it.
        num_res_blocks: Residual blocks per level on the way down.
        attention_px: Resolutions with self-attention.
        dropout: Dropout probability, in [0, 1).
        num_groups: Groups of every group normalisation.
        num_timesteps: T.
        schedule: `linear` or `cosine`.
        prediction: What the network outputs: `epsilon`, `v` or `x0`.
        loss_weighting: `simple` (plain squared error of the output) or `min_snr`.
        min_snr_gamma: The gamma of `min_snr`, positive.
        condition: Whether captions are read, by the base `text`.
        condition_dropout: Probability in [0, 1) that a training sample is shown without its caption.
        sampler: `ddim` or `ddpm`.
        sampling_steps: Network evaluations per image (guidance doubles them), 1 .. num_timesteps.
        spacing: Which timesteps are visited: `leading` (from 0 up, as in the DDIM paper) or `trailing` (from T-1 down).
        eta: Share of ancestral noise in DDIM, in [0, 1].
        variance: Of DDPM's reverse steps, in sampling and in the bound: `fixed_small` or `fixed_large`.
        clip: Whether estimates of x0 are clipped to [-1, 1] at each step.
        guidance: Scale of classifier-free guidance, not negative: 1 for none, 0 ignores the caption.
    """

    image_px: int = 64
    width: int = 128
    channel_multipliers: tuple[int, ...] = (1, 2, 2, 2)
    num_res_blocks: int = 2
    attention_px: tuple[int, ...] = (16,)
    dropout: float = 0.1
    num_groups: int = 32
    num_timesteps: int = 1000
    schedule: str = "linear"
    prediction: str = "epsilon"
    loss_weighting: str = "simple"
    min_snr_gamma: float = 5.0
    condition: bool = False
    condition_dropout: float = 0.1
    sampler: str = "ddim"
    sampling_steps: int = 50
    spacing: str = "trailing"
    eta: float = 0.0
    variance: str = "fixed_large"
    clip: bool = True
    guidance: float = 1.0

    def __post_init__(self) -> None:
        self.unet()
        require(self.num_timesteps > 1, "num_timesteps", self.num_timesteps, "at least 2")
        require_one_of("schedule", self.schedule, SCHEDULES)
        SCHEDULES[self.schedule](self.num_timesteps)
        require_one_of("prediction", self.prediction, PREDICTIONS)
        require_one_of("loss_weighting", self.loss_weighting, ("simple", "min_snr"))
        require(self.min_snr_gamma > 0, "min_snr_gamma", self.min_snr_gamma, "positive")
        require(0 <= self.condition_dropout < 1, "condition_dropout", self.condition_dropout, "in [0, 1)")
        require_one_of("sampler", self.sampler, ("ddim", "ddpm"))
        require_one_of("spacing", self.spacing, SPACINGS)
        timestep_grid(self.num_timesteps, self.sampling_steps, self.spacing)
        require(0 <= self.eta <= 1, "eta", self.eta, "in [0, 1]")
        require_one_of("variance", self.variance, VARIANCES)
        require(self.guidance >= 0, "guidance", self.guidance, "at least 0")
        require(self.condition or self.guidance == 1, "guidance", self.guidance, "1 for a model without condition")

    def unet(self) -> UNetConfig:
        """The settings that are the network's."""
        return UNetConfig(
            image_px=self.image_px,
            width=self.width,
            channel_multipliers=self.channel_multipliers,
            num_res_blocks=self.num_res_blocks,
            attention_px=self.attention_px,
            dropout=self.dropout,
            num_groups=self.num_groups,
        )


class TextProjection(nn.Module):
    """From text embeddings, or the absence of one, to what is added to the time embedding."""

    def __init__(self, text_dim: int, embedding_dim: int) -> None:
        super().__init__()
        self.linear = linear(text_dim, embedding_dim)
        self.absent = nn.Parameter(torch.zeros(embedding_dim))

    def forward(self, text: Tensor, is_present: Tensor) -> Tensor:
        """Rows of length 1 [B, text_dim] and bool [B] -> [B, embedding_dim]."""
        projected = self.linear(text * math.sqrt(text.shape[1]))
        return torch.where(is_present[:, None], projected, self.absent.to(projected.dtype))


class Model(nn.Module):
    """DDPM; trains `main` on `image`, and on the caption's embedding when conditional.

    Attributes:
        conditional: Whether captions are read.
        feature_sources: What the frozen features that `batch_keys` may name are made of.
    """

    feature_sources: ClassVar[dict[str, str]] = {"text_embedding": "caption"}

    def __init__(self, config: Config, bases: Mapping[str, nn.Module]) -> None:
        super().__init__()
        expected = {"text"} if config.condition else set()
        allowed = "a text encoder named 'text'" if config.condition else "empty without condition"
        require(set(bases) == expected, "bases", sorted(bases), allowed)
        self.config = config
        self.image_px = config.image_px
        self.conditional = config.condition
        self.batch_keys = ("image", "text_embedding") if config.condition else ("image",)
        self.unet = UNet(config.unet())
        self.schedule = NoiseSchedule(SCHEDULES[config.schedule](config.num_timesteps))
        if config.condition:
            self.text = Frozen(bases["text"])
            text_dim = self._encode_text(["a picture"]).shape[1]
            self.text_projection = TextProjection(text_dim, config.unet().embedding_dim)

    @torch.no_grad()
    def _encode_text(self, captions: Sequence[str]) -> Tensor:
        return cast(TextEncoder, self.text.module).encode_text(captions)

    def frozen_features(self, batch: Batch) -> dict[str, Tensor]:
        """`text_embedding` of the captions, float32 [B, D]; nothing for a model without condition."""
        return {"text_embedding": self._encode_text(batch["caption"])} if self.conditional else {}

    def training_step(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """The weighted squared error of the prediction at one uniform timestep per image."""
        x0 = batch["image"]
        device, size = x0.device, len(x0)
        t = torch.randint(self.config.num_timesteps, (size,), generator=generator, device=generator.device).to(device)
        epsilon = batch_normal(x0.shape, generator, device)
        condition = self._training_condition(batch["text_embedding"], generator) if self.conditional else None
        alpha, sigma = self.schedule.coefficients(t)
        with seeded_by(generator, device):
            output = self.unet(alpha * x0 + sigma * epsilon, t, condition).float()
        target = prediction_target(self.config.prediction, x0, epsilon, alpha, sigma)
        squared_error = ((output - target) ** 2).flatten(1).mean(1)
        return {"main": (self._loss_weight(t) * squared_error).mean()}

    def _loss_weight(self, t: Tensor) -> Tensor | float:
        if self.config.loss_weighting == "simple":
            return 1.0
        return min_snr_weight(self.config.prediction, self.schedule.snr(t), self.config.min_snr_gamma)

    def _training_condition(self, text: Tensor, generator: torch.Generator) -> Tensor:
        """What is added to the time embedding, with captions dropped at random."""
        uniform = torch.rand(len(text), generator=generator, device=generator.device).to(text.device)
        return self.text_projection(text, uniform >= self.config.condition_dropout)

    def denoiser(self, text: Tensor | None, guidance: float, clip: bool) -> Denoiser:
        """The denoiser that samplers take.

        Args:
            text: Text embeddings [B, D]; None for a model without condition.
            guidance: Scale of classifier-free guidance. The guided output is what is clipped.
            clip: Whether to clip x0 to [-1, 1].

        Returns:
            A function from (x_t, timestep) to `Denoised`.
        """
        alpha_bars = self.schedule.alpha_bars.tolist()

        def denoise(x: Tensor, timestep: int) -> Denoised:
            alpha, sigma = math.sqrt(alpha_bars[timestep]), math.sqrt(1 - alpha_bars[timestep])
            output = self._guided_output(x, timestep, text, guidance)
            denoised = to_denoised(self.config.prediction, output, x, alpha, sigma)
            return clip_denoised(denoised, x, alpha, sigma) if clip else denoised

        return denoise

    def _guided_output(self, x: Tensor, timestep: int, text: Tensor | None, guidance: float) -> Tensor:
        """The network's output; both branches in one call unless `guidance` is 0 or 1 and one is enough."""
        t = torch.full((len(x),), timestep, device=x.device)
        if text is None:
            return self.unet(x, t).float()
        present = torch.ones(len(x), dtype=torch.bool, device=x.device)
        if guidance in {0, 1}:
            return self.unet(x, t, self.text_projection(text, present if guidance else ~present)).float()
        condition = self.text_projection(text.repeat(2, 1), torch.cat([present, ~present]))
        conditional, unconditional = self.unet(x.repeat(2, 1, 1, 1), t.repeat(2), condition).float().chunk(2)
        return guide(conditional, unconditional, guidance)

    @torch.no_grad()
    def generate(self, captions: Sequence[str], generators: Sequence[torch.Generator], **sampling: Any) -> Tensor:
        """Samples images.

        Args:
            captions: One per image; ignored by a model without condition.
            generators: All noise of image i comes from generator i alone.
            **sampling: Settings of `Config` that replace the configured ones (`SAMPLING_SETTINGS`).

        Returns:
            float32 [B, 3, H, W] in [-1, 1].

        Raises:
            ValueError: A sampling setting is unknown or out of its range.
        """
        assert len(captions) == len(generators), "one generator per caption"
        for name in sampling:
            require_one_of("sampling setting", name, SAMPLING_SETTINGS)
        config = replace(self.config, **sampling)
        text = self._encode_text(captions) if self.conditional else None
        denoise = self.denoiser(text, config.guidance, config.clip)
        grid = timestep_grid(config.num_timesteps, config.sampling_steps, config.spacing)
        steps = plan(self.schedule.alpha_bars, grid)
        shape, device = (3, self.image_px, self.image_px), self.schedule.alpha_bars.device
        draw_noise = partial(sample_normal, shape, generators, device)
        if config.sampler == "ddim":
            images = sample_ddim(denoise, draw_noise(), steps, config.eta, draw_noise)
        else:
            images = sample_ancestral(denoise, draw_noise(), steps, config.variance, draw_noise)
        return images.clamp(-1, 1)

    def variational_bound(
        self, image: Tensor, generators: Sequence[torch.Generator], captions: Sequence[str] | None = None
    ) -> BoundTerms:
        """Upper bound on -log p(x) in bits per dimension, all T terms, one draw of x_t each.

        Args:
            image: 8-bit images mapped to [-1, 1], float32 [B, 3, H, W].
            generators: The draws for image i come from generator i alone.
            captions: Of the images, for p(x | caption); needed by a conditional model, ignored by others.

        Returns:
            The terms; `total()` is the bound, [B].
        """
        text = None
        if self.conditional:
            assert captions is not None, "a conditional model bounds log p(image | caption)"
            text = self._encode_text(captions)
        steps = plan(self.schedule.alpha_bars, list(range(self.config.num_timesteps))[::-1])
        draw_noise = partial(sample_normal, tuple(image.shape[1:]), generators, image.device)
        denoise = self.denoiser(text, 1.0, self.config.clip)
        return diffusion_bound(denoise, image, steps, self.config.variance, draw_noise)

    def log_likelihood(
        self, image: Tensor, generators: Sequence[torch.Generator], captions: Sequence[str] | None = None
    ) -> Tensor:
        """Lower bound on log p(x): the `variational_bound` of the same arguments, in nats per image, float32 [B]."""
        return -self.variational_bound(image, generators, captions).total() * image[0].numel() * math.log(2)
