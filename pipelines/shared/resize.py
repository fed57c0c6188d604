"""The sizes in which pictures and frames are packed; img2dataset's names for the modes.

All resampling is Pillow's bicubic, which filters before it reduces (Parmar et al. 2022, arXiv:2104.11222, show what
happens to FID otherwise). Small pictures are enlarged: a pack has one size.
"""

from typing import Literal, get_args

from PIL import Image, ImageOps

ResizeMode = Literal["border", "center_crop", "keep_ratio"]
RESIZE_MODES: tuple[str, ...] = get_args(ResizeMode)
METHOD = Image.Resampling.BICUBIC


def resized(image: Image.Image, size_px: int, mode: ResizeMode) -> Image.Image:
    """A picture of mode RGB in another size.

    Args:
        image: The picture.
        size_px: Side of the square, or the shorter side with `keep_ratio`.
        mode: `border` puts all of the picture into the middle of a white square, `center_crop` cuts the largest square
            out of its middle, `keep_ratio` keeps its shape.
    """
    if mode == "center_crop":
        return ImageOps.fit(image, (size_px, size_px), METHOD)
    scale = size_px / (max if mode == "border" else min)(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    scaled = image.resize((width, height), METHOD)
    if mode == "keep_ratio":
        return scaled
    square = Image.new("RGB", (size_px, size_px), "white")
    square.paste(scaled, ((size_px - width) // 2, (size_px - height) // 2))
    return square
