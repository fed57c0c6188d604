"""Pictures and animations by Pillow; see `decode` for what pixels mean.

Pillow is given what pixels need and nothing else (`containers`), so that no text, profile or preview costs a picture.
Frames of an animation are decoded one by one, each as a picture of its own, and laid on the canvas here: what its
headers say decides, and no decoder's view of disposal and blending.
"""

import io
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
from PIL import Image

from pipelines.shared.clips import sixteen_bit_colours
from pipelines.shared.containers import PICTURES, sniff
from pipelines.shared.media import MediaError, MediaLimits, as_media_error
from pipelines.shared.parts import Frame, Parts

PICTURE_FORMATS = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP", "gif": "GIF"}
MOST = MediaLimits(max_aspect=16_383, max_animation_pixels=4_000_000_000, max_duration_sec=3600)
DEFAULT_QUALITY = 95
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def open_image(media: bytes, limits: MediaLimits = MOST) -> Image.Image:
    """A JPEG, PNG, WebP or GIF, wholly decoded; of an animation the first frame.

    Args:
        media: Encoded bytes.
        limits: Checked against the header before decoding; the default is the most that a crawl may have let pass.

    Returns:
        A Pillow image of mode RGB; see `decode` for orientation, transparency and depth.

    Raises:
        MediaError: The bytes are not such a picture, pass a limit, or are damaged.
    """
    with as_media_error():
        extension, parts = _read(media)
        if parts.frames:
            limits.check(parts.width, parts.height)
            return next(_composed(extension, parts, limits))
        return _upright(_flat(_still(extension, parts.still, limits), parts.still, parts), parts)


def image_size(media: bytes, limits: MediaLimits = MOST) -> tuple[int, int]:
    """Width and height of a picture as shown; all of it is decoded to find damage.

    Raises:
        MediaError: As `open_image`.
    """
    return open_image(media, limits).size


def animation_frames(media: bytes, limits: MediaLimits = MOST) -> Iterator[np.ndarray]:
    """The frames of a GIF, WebP or PNG one after another.

    Yields:
        uint8 [H, W, 3] arrays.

    Raises:
        MediaError: As `open_image`.
    """
    with as_media_error():
        extension, parts = _read(media)
        if not parts.frames:
            yield np.asarray(open_image(media, limits))
            return
        _check_animation(parts, limits)
        for image in _composed(extension, parts, limits):
            yield np.asarray(image)


def animation_rate(media: bytes, limits: MediaLimits = MOST) -> tuple[int, Fraction]:
    """Number of frames of a picture and its mean frames per second, which keeps its length; (1, 0) for a still one.

    Frames are shown as long as browsers show them: a delay of 10 ms or less counts as 100 ms.

    Raises:
        MediaError: As `open_image`.
    """
    with as_media_error():
        _, parts = _read(media)
        count = len(parts.frames)
        if count < 2:
            return 1, Fraction(0)
        _check_animation(parts, limits)
        return count, count / _duration_sec(parts)


def is_shown_otherwise(media: bytes) -> bool:
    """Whether a program that knows no animations shows another picture than we do: an APNG's default image apart.

    Raises:
        MediaError: As `open_image`.
    """
    return _read(media)[1].is_other


def encode_image(image: Image.Image, extension: str, quality: int = DEFAULT_QUALITY) -> bytes:
    """Encode an RGB image without any metadata; equal pixels give equal bytes with one build of Pillow.

    Args:
        image: Mode RGB.
        extension: `jpg`, `png` or `webp`.
        quality: 1 to 100; PNG is lossless and ignores it.
    """
    assert image.mode == "RGB", f"an image of mode {image.mode} must be converted to RGB first"
    assert extension in ("jpg", "png", "webp"), f"images are not written as {extension}"
    buffer = io.BytesIO()
    settings: dict[str, Any] = {} if extension == "png" else {"quality": quality}
    Image.frombytes("RGB", image.size, image.tobytes()).save(buffer, PICTURE_FORMATS[extension], **settings)
    return buffer.getvalue()


def _read(media: bytes) -> tuple[str, Parts]:
    extension = sniff(media)
    if extension not in PICTURES:
        raise MediaError("type_refused", "not a JPEG, PNG, WebP or GIF")
    return extension, PICTURES[extension](media)


def _duration_sec(parts: Parts) -> Fraction:
    return sum((frame.delay_sec for frame in parts.frames), Fraction(0))


def _check_animation(parts: Parts, limits: MediaLimits) -> None:
    canvas_pixels = parts.width * parts.height
    num_pixels = sum(max(canvas_pixels, frame.width * frame.height) for frame in parts.frames)
    limits.check_animation(parts.width, parts.height, len(parts.frames), num_pixels)
    limits.check_duration(float(_duration_sec(parts)))


def _still(extension: str, still: bytes, limits: MediaLimits) -> Image.Image:
    """A picture as it is stored, wholly decoded; its header is within the limits."""
    try:
        picture = Image.open(io.BytesIO(still), formats=[PICTURE_FORMATS[extension]])
    except Image.DecompressionBombError as error:
        raise MediaError("too_many_pixels", "more pixels than Pillow opens") from error
    limits.check(picture.width, picture.height)
    picture.load()
    return picture


def _composed(extension: str, parts: Parts, limits: MediaLimits) -> Iterator[Image.Image]:
    """What an animation's canvas shows frame by frame, on white; a frame of its own may be a strip."""
    canvas = Image.new("RGBA", (parts.width, parts.height))
    limits = replace(limits, max_aspect=MOST.max_aspect)
    for frame in parts.frames:
        box = (frame.left, frame.top, frame.left + frame.width, frame.top + frame.height)
        layer = _layer(_still(extension, frame.still, limits), frame, parts)
        before = canvas.crop(box) if frame.after == "restore" else None
        if frame.blends:
            layer = Image.alpha_composite(canvas.crop(box), layer)
        canvas.paste(layer, box)
        yield _upright(_on_white(canvas), parts)
        if frame.after != "keep":
            canvas.paste(before or (0, 0, 0, 0), box)


def _layer(picture: Image.Image, frame: Frame, parts: Parts) -> Image.Image:
    """A frame as RGBA."""
    if frame.colours:
        indices = np.asarray(picture)
        assert indices.ndim == 2, f"a GIF's frame has indices, not {picture.mode}"
        return Image.fromarray(np.frombuffer(frame.colours, np.uint8).reshape(256, 4)[indices])
    layered = _with_alpha(picture, frame.still, parts)
    return _opaque(picture).convert("RGBA") if layered is None else layered


def _flat(picture: Image.Image, still: bytes, parts: Parts) -> Image.Image:
    layered = _with_alpha(picture, still, parts)
    return _on_white(layered) if layered is not None else _opaque(picture)


def _on_white(layered: Image.Image) -> Image.Image:
    flat = Image.new("RGB", layered.size, "white")
    flat.paste(layered, mask=layered.getchannel("A"))
    return flat


def _with_alpha(picture: Image.Image, still: bytes, parts: Parts) -> Image.Image | None:
    """The picture as RGBA if something in it may be transparent."""
    if parts.clear:
        layered = _opaque(picture).convert("RGBA")
        layered.putalpha(Image.fromarray(np.where(_is_clear(picture, still, parts), 0, 255).astype(np.uint8)))
        return layered
    return picture.convert("RGBA") if picture.has_transparency_data else None


def _opaque(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I"):
        grey = np.asarray(picture).astype(np.uint32)
        return Image.fromarray(((grey * 255 + 32767) // 65535).astype(np.uint8)).convert("RGB")
    return picture.convert("RGB")


def _is_clear(picture: Image.Image, still: bytes, parts: Parts) -> np.ndarray:
    """Where a PNG has the colour that its `tRNS` makes transparent, compared at the file's own depth; bool [H, W]."""
    is_deep = len(parts.clear) == 3 and parts.bit_depth == 16
    values = sixteen_bit_colours(still) if is_deep else np.asarray(picture)
    scale = 255 // (2**parts.bit_depth - 1) if picture.mode == "L" else 1
    clear = scale * np.array(parts.clear)
    return (values == clear).all(axis=-1) if len(clear) == 3 else values == clear


def _upright(image: Image.Image, parts: Parts) -> Image.Image:
    turn = UPRIGHT.get(parts.orientation)
    return image if turn is None else image.transpose(turn)
