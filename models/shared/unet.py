"""The UNet that DDPM denoises with.

Source: Ho et al. 2020 (arXiv:2006.11239, appendix B) and the authors' code. Width 128, multipliers (1, 2, 2, 2), two
blocks per level and attention at 16 px give the CIFAR-10 network of the paper, 35,746,307 parameters.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.shared.blocks import Downsample, Head, Middle, ResidualBlock, SelfAttention, Upsample, conv, linear
from models.shared.checks import require


@dataclass(frozen=True, kw_only=True, slots=True)
class UNetConfig:
    """Shape of a UNet.

    Attributes:
        image_px: Side of the images (or latents) that attention resolutions refer to.
        in_channels: Channels in.
        out_channels: Channels out.
        width: Channels at full resolution, even; a multiple of `num_groups`.
        channel_multipliers: Multiple of `width` by level; each level but the first has half the resolution before it.
        num_res_blocks: Residual blocks per level on the way down; one more on the way up.
        attention_px: Resolutions with self-attention after each residual block; the lowest always has it in the middle.
        dropout: Dropout probability of the residual blocks, in [0, 1).
        num_groups: Groups of every group normalisation.
    """

    image_px: int
    in_channels: int = 3
    out_channels: int = 3
    width: int = 128
    channel_multipliers: tuple[int, ...] = (1, 2, 2, 2)
    num_res_blocks: int = 2
    attention_px: tuple[int, ...] = (16,)
    dropout: float = 0.1
    num_groups: int = 32

    def __post_init__(self) -> None:
        multipliers = self.channel_multipliers
        require(len(multipliers) > 0 and min(multipliers) > 0, "channel_multipliers", multipliers, "positive integers")
        factor = 2 ** (len(multipliers) - 1)
        allowed = f"a positive multiple of {factor}, the downsampling of {len(multipliers)} levels"
        require(self.image_px > 0 and self.image_px % factor == 0, "image_px", self.image_px, allowed)
        require(self.num_groups > 0, "num_groups", self.num_groups, "positive")
        is_multiple = self.width > 0 and self.width % self.num_groups == 0 and self.width % 2 == 0
        require(is_multiple, "width", self.width, f"positive, even and a multiple of num_groups = {self.num_groups}")
        require(self.width >= 4, "width", self.width, "at least 4")
        require(self.num_res_blocks > 0, "num_res_blocks", self.num_res_blocks, "positive")
        require(0 <= self.dropout < 1, "dropout", self.dropout, "in [0, 1)")
        levels_px = [self.image_px >> level for level in range(len(multipliers))]
        require(set(self.attention_px) <= set(levels_px), "attention_px", self.attention_px, f"among {levels_px}")

    @property
    def embedding_dim(self) -> int:
        """Width of the time embedding."""
        return 4 * self.width


def sinusoidal_embedding(t: Tensor, dim: int) -> Tensor:
    """Sines, then cosines of timesteps at `dim` / 2 frequencies from 1 to 1/10000.

    Args:
        t: int64 [B].
        dim: Even, at least 4.

    Returns:
        float32 [B, dim].
    """
    num_frequencies = dim // 2
    exponents = torch.arange(num_frequencies, device=t.device) / (num_frequencies - 1)
    angles = t[:, None].float() * torch.exp(-math.log(10_000) * exponents)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class TimeEmbedding(nn.Module):
    """Two linear layers on the sinusoidal embedding."""

    def __init__(self, width: int, embedding_dim: int) -> None:
        super().__init__()
        self.width = width
        self.linear1 = linear(width, embedding_dim)
        self.linear2 = linear(embedding_dim, embedding_dim)

    def forward(self, t: Tensor) -> Tensor:
        """int64 [B] -> float32 [B, embedding_dim]."""
        sinusoids = sinusoidal_embedding(t, self.width).to(self.linear1.weight.dtype)
        return self.linear2(functional.silu(self.linear1(sinusoids)))


class Layer(nn.Module):
    """A residual block, with self-attention after it if asked for."""

    def __init__(self, in_channels: int, out_channels: int, config: UNetConfig, attention: bool) -> None:
        super().__init__()
        self.block = ResidualBlock(in_channels, out_channels, config.num_groups, config.embedding_dim, config.dropout)
        self.attention = SelfAttention(out_channels, config.num_groups) if attention else nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """[B, in, H, W], [B, embedding_dim] -> [B, out, H, W]."""
        return self.attention(self.block(x, embedding))


class UNet(nn.Module):
    """Maps noisy images and their timesteps to the network's prediction.

    The output is zero at initialisation. Every activation on the way down is concatenated to the input of the layer of
    its resolution on the way up, last first.
    """

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        widths = [config.width * multiplier for multiplier in config.channel_multipliers]
        self.time = TimeEmbedding(config.width, config.embedding_dim)
        self.conv_in = conv(config.in_channels, config.width)
        self.down, skips = nn.ModuleList(), [config.width]
        for level, width in enumerate(widths):
            self._add_down_level(skips, width, level)
        self.middle = Middle(widths[-1], config.num_groups, config.embedding_dim, config.dropout)
        self.up, channels = nn.ModuleList(), widths[-1]
        for level, width in reversed(list(enumerate(widths))):
            self._add_up_level(skips, channels, width, level)
            channels = width
        assert not skips, "every skip is used once"
        self.head = Head(widths[0], config.out_channels, config.num_groups, zero=True)

    def _add_down_level(self, skips: list[int], width: int, level: int) -> None:
        """Adds a level on the way down; appends the channels of each output to `skips`."""
        attention = self.config.image_px >> level in self.config.attention_px
        for _ in range(self.config.num_res_blocks):
            self.down.append(Layer(skips[-1], width, self.config, attention))
            skips.append(width)
        if level < len(self.config.channel_multipliers) - 1:
            self.down.append(Downsample(width))
            skips.append(width)

    def _add_up_level(self, skips: list[int], channels: int, width: int, level: int) -> None:
        """Adds a level on the way up; takes the channels of each concatenated input from the end of `skips`."""
        attention = self.config.image_px >> level in self.config.attention_px
        for _ in range(self.config.num_res_blocks + 1):
            self.up.append(Layer(channels + skips.pop(), width, self.config, attention))
            channels = width
        if level > 0:
            self.up.append(Upsample(width))

    def forward(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        """Predicts.

        Args:
            x: Noisy images, [B, in_channels, H, W].
            t: Timesteps, int64 [B].
            condition: Added to the time embedding, [B, embedding_dim]; None for no condition.

        Returns:
            [B, out_channels, H, W].
        """
        embedding = self.time(t)
        # The nonlinearity that every block would apply to the embedding is applied once.
        embedding = functional.silu(embedding if condition is None else embedding + condition)
        h = self.conv_in(x)
        skips = [h]
        for module in self.down:
            h = module(h, embedding) if isinstance(module, Layer) else module(h)
            skips.append(h)
        h = self.middle(h, embedding)
        for module in self.up:
            is_layer = isinstance(module, Layer)
            h = module(torch.cat([h, skips.pop()], dim=1), embedding) if is_layer else module(h)
        return self.head(h)
