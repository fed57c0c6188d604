"""The sizes in which pictures and frames are packed; img2dataset's names for the modes.

All resampling is bicubic with antialiasing: the filter grows with the reduction (Parmar et al. 2022, arXiv:2104.11222,
show what happens to FID otherwise). Small pictures are enlarged: a pack has one size.

Two implementations of that filter, and the picture's own size says which: Pillow's below `LARGE_PX` pixels, and from
there PyTorch's for uint8, whose integer arithmetic gives the same bytes on every processor. On twelve real pictures in
129 sizes the two differ by one level at most, but for 17 of 32 million values, which differ by two. PyTorch takes 0.6
ms for 640 x 480 pixels where Pillow takes 2.4, but its import takes 1.6 CPU seconds and 490 MB in each worker, which
only 900 such pictures make good. Small pictures save next to nothing, so sets of them, as the demo's, never pay it.
"""

import functools
from types import ModuleType
from typing import Literal, get_args

import numpy as np
from PIL import Image

ResizeMode = Literal["border", "center_crop", "keep_ratio"]
RESIZE_MODES: tuple[str, ...] = get_args(ResizeMode)
LARGE_PX = 2**18


def resized(image: Image.Image, size_px: int, mode: ResizeMode) -> Image.Image:
    """A picture of mode RGB in another size.

    Args:
        image: The picture.
        size_px: Side of the square, or the shorter side with `keep_ratio`.
        mode: `border` puts all of the picture into the middle of a white square, `center_crop` cuts the largest square
            out of its middle, `keep_ratio` keeps its shape.
    """
    if mode == "center_crop":
        short = min(image.size)
        left, top = ((side - short) // 2 for side in image.size)
        return scaled(image.crop((left, top, left + short, top + short)), size_px, size_px)
    scale = size_px / (max if mode == "border" else min)(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    whole = scaled(image, width, height)
    if mode == "keep_ratio":
        return whole
    square = Image.new("RGB", (size_px, size_px), "white")
    square.paste(whole, ((size_px - width) // 2, (size_px - height) // 2))
    return square


def scaled(image: Image.Image, width: int, height: int) -> Image.Image:
    """A picture of mode RGB, resampled to so many pixels; as it is if it has them."""
    if image.size == (width, height):
        return image
    if image.width * image.height < LARGE_PX:
        return image.resize((width, height), Image.Resampling.BICUBIC)
    torch = _torch()
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).unsqueeze(0)  # channels stay the innermost in memory
    found = torch.nn.functional.interpolate(pixels, size=(height, width), mode="bicubic", antialias=True)
    return Image.fromarray(found[0].permute(1, 2, 0).contiguous().numpy())


@functools.cache
def _torch() -> ModuleType:
    """PyTorch on one thread: workers are as many as there are cores."""
    import torch

    torch.set_num_threads(1)
    return torch
