"""Rules by which pictures are resized for a feature network; a distance changes with the rule.

| rule | what it is | where it is from |
|---|---|---|
| `clean` | bicubic (a = -0.5), antialiased, not rounded | Pillow on one float channel at a time, Parmar et al. 2022, \
arXiv:2104.11222 |
| `tf1` | bilinear of TensorFlow 1, sampled from the corner, not antialiased | the published FID, Heusel et al. 2017, \
arXiv:1706.08500 |
| `torch` | bilinear, not antialiased | PyTorch's ports of FID |
| `torch-antialias` | bilinear, antialiased | torchmetrics from 1.8 on |
| `torch-bicubic` | bicubic (a = -0.75), not antialiased | the published CMMD, Jayasumana et al. 2024, \
arXiv:2401.09603 |

Pictures become squares, whatever their shape was. Nothing is rounded or clipped, so bicubic rules leave [0, 255] a
little. Rules without antialiasing alias where a picture is larger than the network reads.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F


def resize(images: Tensor, size_px: int, rule: str) -> Tensor:
    """Resizes by a rule.

    Args:
        images: uint8 [B, 3, H, W].
        size_px: Side of the result.
        rule: One of `RULES`.

    Returns:
        float32 [B, 3, size_px, size_px], about 0 to 255.
    """
    return RULES[rule](images, size_px)


def check_rule(rule: str) -> None:
    """Refuses a rule that there is not.

    Raises:
        ValueError: It is not one of `RULES`.
    """
    if rule not in RULES:
        raise ValueError(f"resize must be one of {', '.join(RULES)}, got {rule!r}")


def _clean(images: Tensor, size_px: int) -> Tensor:
    # Pillow's weights and sums are in double precision; torch's are in that of the picture
    size = (size_px, size_px)
    return F.interpolate(images.double(), size=size, mode="bicubic", antialias=True).float()


def _tf1(images: Tensor, size_px: int) -> Tensor:
    """Output i is sampled at i * side / size_px, the last row and column repeated."""
    images = images.float()
    for axis in (3, 2):
        side_px = images.shape[axis]
        position = torch.arange(size_px, device=images.device) * (torch.tensor(side_px) / size_px).to(images.device)
        low = position.long()
        high = (low + 1).clamp(max=side_px - 1)
        frac = (position - low).view(-1, *[1] * (3 - axis))
        first, second = images.index_select(axis, low), images.index_select(axis, high)
        images = first + (second - first) * frac
    return images


def _torch(images: Tensor, size_px: int, *, mode: str, antialias: bool = False) -> Tensor:
    return F.interpolate(images.float(), size=(size_px, size_px), mode=mode, antialias=antialias)


RULES: dict[str, Callable[[Tensor, int], Tensor]] = {
    "clean": _clean,
    "tf1": _tf1,
    "torch": partial(_torch, mode="bilinear"),
    "torch-antialias": partial(_torch, mode="bilinear", antialias=True),
    "torch-bicubic": partial(_torch, mode="bicubic"),
}
