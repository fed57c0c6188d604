"""Vision Transformer as BLIP uses it, and the same blocks over the feature map of a frozen image network.

Source: Dosovitskiy et al. 2020, arXiv:2010.11929, in the variant of Li et al. 2022, arXiv:2201.12086: pre-LN blocks,
exact GELU, biases everywhere, LN epsilon 1e-6; all tokens after the last LN are the image's states.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.shared.checks import require

NORM_EPS = 1e-6
INIT_STD = 0.02


class Block(nn.Module):
    """One pre-LN block: `x + attention(LN(x))`, then `x + mlp(LN(x))` with a hidden layer of 4 times the width."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm1 = nn.LayerNorm(width, eps=NORM_EPS)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width, eps=NORM_EPS)
        self.mlp_in = nn.Linear(width, 4 * width)
        self.mlp_out = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, W] -> [B, N, W]."""
        batch, tokens, width = x.shape
        heads = self.qkv(self.norm1(x)).view(batch, tokens, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        query, key, value = heads.unbind(0)
        attended = functional.scaled_dot_product_attention(query, key, value)
        x = x + self.out(attended.transpose(1, 2).reshape(batch, tokens, width))
        return x + self.mlp_out(functional.gelu(self.mlp_in(self.norm2(x))))


class _Trunk(nn.Module):
    """A class token and learned positions in front of the blocks, one LN behind them."""

    blocks: Sequence[Block]

    def __init__(self, *, num_tokens: int, width: int, num_layers: int, num_heads: int) -> None:
        super().__init__()
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(torch.zeros(1, 1 + num_tokens, width))
        self.blocks = nn.ModuleList(Block(width, num_heads) for _ in range(num_layers))  # type: ignore[assignment]
        self.norm = nn.LayerNorm(width, eps=NORM_EPS)
        for parameter in (self.class_token, self.positions):
            nn.init.trunc_normal_(parameter, std=INIT_STD)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=INIT_STD)
                nn.init.zeros_(module.bias)

    def _encode(self, first: Tensor, tokens: Tensor) -> Tensor:
        x = torch.cat([first.expand(len(tokens), -1, -1), tokens], dim=1) + self.positions
        for block in self.blocks:
            x = block(x)
        return self.norm(x)


class VisionTransformer(_Trunk):
    """ViT over the pixels."""

    def __init__(self, *, image_px: int, patch_px: int, width: int, num_layers: int, num_heads: int) -> None:
        require(image_px % patch_px == 0, "image_px", image_px, f"a multiple of patch_px = {patch_px}")
        num_tokens = (image_px // patch_px) ** 2
        super().__init__(num_tokens=num_tokens, width=width, num_layers=num_layers, num_heads=num_heads)
        self.image_px = image_px
        self.patch_px = patch_px
        self.patches = nn.Conv2d(3, width, kernel_size=patch_px, stride=patch_px)

    def forward(self, image: Tensor) -> Tensor:
        """float32 [B, 3, H, W], normalised as in training -> [B, 1 + N, width]; token 0 is the class token."""
        return self._encode(self.class_token, self.patches(image).flatten(2).transpose(1, 2))

    def resize(self, image_px: int) -> None:
        """Takes images of another size from now on: the patches' positions are interpolated (bicubic)."""
        require(image_px % self.patch_px == 0, "image_px", image_px, f"a multiple of patch_px = {self.patch_px}")
        old, new = self.image_px // self.patch_px, image_px // self.patch_px
        first, grid = self.positions.detach().split([1, old * old], dim=1)
        grid = grid.transpose(1, 2).unflatten(2, (old, old))
        grid = functional.interpolate(grid, size=(new, new), mode="bicubic", align_corners=False)
        self.positions = nn.Parameter(torch.cat([first, grid.flatten(2).transpose(1, 2)], dim=1))
        self.image_px = image_px


class FeatureTransformer(_Trunk):
    """The same blocks over the feature vectors of a frozen image network, projected to the width.

    Token 0 is the class token plus the projected mean of the features, so that it describes the image from the first
    step on.
    """

    def __init__(self, *, num_tokens: int, feature_width: int, width: int, num_layers: int, num_heads: int) -> None:
        super().__init__(num_tokens=num_tokens, width=width, num_layers=num_layers, num_heads=num_heads)
        self.project = nn.Linear(feature_width, width)

    def forward(self, features: Tensor) -> Tensor:
        """float32 [B, num_tokens, feature_width] -> [B, 1 + num_tokens, width]."""
        tokens = self.project(features)
        return self._encode(self.class_token + tokens.mean(dim=1, keepdim=True), tokens)
