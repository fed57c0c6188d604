"""Convolutional blocks of diffusion UNets and image autoencoders.

Source: the blocks of Ho et al. 2020 (arXiv:2006.11239, appendix B) and the authors' code: GroupNorm and swish before
each convolution, the last convolution of a residual branch starts at zero, single-head attention, downsampling that
pads only the right and the bottom. The autoencoder of latent diffusion (arXiv:2112.10752) has the same blocks without
the time embedding.

Weights start Glorot-uniform, biases at zero.
"""

from torch import Tensor, nn
from torch.nn import functional


def conv(in_channels: int, out_channels: int, kernel_px: int = 3, *, stride: int = 1, zero: bool = False) -> nn.Conv2d:
    """A convolution that keeps the size (padded by half the kernel) for stride 1 and is not padded for others.

    With `zero` its weights start at zero.
    """
    layer = nn.Conv2d(in_channels, out_channels, kernel_px, stride, padding=kernel_px // 2 if stride == 1 else 0)
    _initialize(layer, zero)
    return layer


def linear(in_features: int, out_features: int) -> nn.Linear:
    """A linear layer."""
    layer = nn.Linear(in_features, out_features)
    _initialize(layer, zero=False)
    return layer


def _initialize(layer: nn.Conv2d | nn.Linear, zero: bool) -> None:
    if zero:
        nn.init.zeros_(layer.weight)
    else:
        nn.init.xavier_uniform_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def group_norm(channels: int, num_groups: int) -> nn.GroupNorm:
    """Group normalisation with the epsilon of the source."""
    return nn.GroupNorm(num_groups, channels, eps=1e-6)


class ResidualBlock(nn.Module):
    """x + conv(dropout(swish(norm(conv(swish(norm(x))) + embedding)))).

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output; where they differ the skip is a 1x1 convolution.
        num_groups: Groups of the normalisations; divides both channel counts.
        embedding_dim: Width of the embedding that is added between the convolutions; None for no embedding.
        dropout: Probability of the dropout before the second convolution.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_groups: int,
        embedding_dim: int | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.norm1 = group_norm(in_channels, num_groups)
        self.conv1 = conv(in_channels, out_channels)
        self.embedding = None if embedding_dim is None else linear(embedding_dim, out_channels)
        self.norm2 = group_norm(out_channels, num_groups)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = conv(out_channels, out_channels, zero=True)
        self.skip = nn.Identity() if in_channels == out_channels else conv(in_channels, out_channels, 1)

    def forward(self, x: Tensor, embedding: Tensor | None = None) -> Tensor:
        """[B, in, H, W] and, if built for it, an embedding [B, embedding_dim] -> [B, out, H, W]."""
        h = self.conv1(functional.silu(self.norm1(x)))
        if self.embedding is not None:
            assert embedding is not None, "this block was built for an embedding"
            h = h + self.embedding(embedding)[:, :, None, None]
        h = self.conv2(self.dropout(functional.silu(self.norm2(h))))
        return self.skip(x) + h


class SelfAttention(nn.Module):
    """x + attention(norm(x)) over all positions, one head."""

    def __init__(self, channels: int, num_groups: int) -> None:
        super().__init__()
        self.norm = group_norm(channels, num_groups)
        self.query = conv(channels, channels, 1)
        self.key = conv(channels, channels, 1)
        self.value = conv(channels, channels, 1)
        self.out = conv(channels, channels, 1, zero=True)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, H, W]."""
        h = self.norm(x)
        query, key, value = (f(h).flatten(2).transpose(1, 2) for f in (self.query, self.key, self.value))
        attended = functional.scaled_dot_product_attention(query, key, value)
        return x + self.out(attended.transpose(1, 2).reshape(x.shape))


class Downsample(nn.Module):
    """Halves the size by a 3x3 convolution of stride 2, padded by one at the right and the bottom."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = conv(channels, channels, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, H/2, W/2]."""
        return self.conv(functional.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Doubles the size by repeating pixels, then a 3x3 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = conv(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, 2H, 2W]."""
        return self.conv(functional.interpolate(x, scale_factor=2.0, mode="nearest"))


class Middle(nn.Module):
    """Residual block, self-attention, residual block, at the lowest resolution."""

    def __init__(self, channels: int, num_groups: int, embedding_dim: int | None = None, dropout: float = 0.0) -> None:
        super().__init__()
        self.block1 = ResidualBlock(channels, channels, num_groups, embedding_dim, dropout)
        self.attention = SelfAttention(channels, num_groups)
        self.block2 = ResidualBlock(channels, channels, num_groups, embedding_dim, dropout)

    def forward(self, x: Tensor, embedding: Tensor | None = None) -> Tensor:
        """[B, C, H, W] and, if built for it, an embedding [B, embedding_dim] -> [B, C, H, W]."""
        return self.block2(self.attention(self.block1(x, embedding)), embedding)


class Head(nn.Module):
    """Normalisation, swish and the convolution to the output channels."""

    def __init__(self, in_channels: int, out_channels: int, num_groups: int, *, zero: bool) -> None:
        super().__init__()
        self.norm = group_norm(in_channels, num_groups)
        self.conv = conv(in_channels, out_channels, zero=zero)

    def forward(self, x: Tensor) -> Tensor:
        """[B, in, H, W] -> [B, out, H, W]."""
        return self.conv(functional.silu(self.norm(x)))
