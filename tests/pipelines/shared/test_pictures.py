"""Pictures of every mode, with every kind of metadata, whole and broken; and animations as browsers show them."""

import io
import time
import zlib
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from pipelines.shared.examine import examine
from pipelines.shared.media import MediaLimits
from pipelines.shared.pictures import animation_frames, animation_rate, open_image
from tests.pipelines.shared.picture_files import (
    COLOURS,
    GREY,
    INDEXED,
    LIME_RGB,
    PALETTE,
    RED_RGB,
    WHITE_RGB,
    apng,
    chunk,
    control,
    encoded,
    frame_data,
    gif,
    packed,
    pixels,
    png,
    reason,
    solid,
)

LIMITS = MediaLimits()


def by_ffmpeg(media: bytes) -> np.ndarray:
    """RGBA of a PNG as FFmpeg decodes it; uint8 [H, W, 4]."""
    decoder = av.CodecContext.create("png", "r")
    (frame,) = [*decoder.decode(av.Packet(media)), *decoder.decode(None)]
    return frame.to_ndarray(format="rgba")


# --- what is transparent is white


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_one_transparent_grey(depth: int) -> None:
    values = np.arange(16).reshape(2, 8) % 2**depth if depth < 16 else np.arange(16).reshape(2, 8) + 40_000
    for clear in (values[0, 0], values[0, 1]):
        found = pixels(png(values, depth, GREY, chunk(b"tRNS", int(clear).to_bytes(2, "big"))))
        plain = pixels(png(values, depth, GREY))
        assert (found[values == clear] == 255).all()
        assert np.array_equal(found[values != clear], plain[values != clear])


@pytest.mark.parametrize("depth", [8, 16])
def test_one_transparent_colour(depth: int) -> None:
    """Compared at full depth: a colour whose upper bytes are the same stays."""
    unit = 257 if depth == 16 else 1
    values = np.array([[[10, 20, 30], [10, 20, 30], [11, 20, 30], [40, 50, 60]]]) * unit
    values[0, 1, 2] += 1
    clear = b"".join(int(each).to_bytes(2, "big") for each in values[0, 0])
    found = pixels(png(values, depth, COLOURS, chunk(b"tRNS", clear)))
    assert found[0].tolist() == [WHITE_RGB, [10, 20, 30 + (depth == 8)], [11, 20, 30], [40, 50, 60]]


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_transparent_indices(depth: int) -> None:
    values = np.array([[0, 1, 1, 0]])
    media = png(values, depth, INDEXED, chunk(b"PLTE", PALETTE[:6]), chunk(b"tRNS", b"\x00"))
    assert pixels(media)[0].tolist() == [WHITE_RGB, RED_RGB, RED_RGB, WHITE_RGB]


@pytest.mark.parametrize(("depth", "colour"), [(1, 0), (2, 0), (4, 0), (8, 0), (8, 2), (8, 3), (4, 3), (8, 4), (8, 6)])
@pytest.mark.parametrize("has_clear", [False, True])
def test_png_modes_as_ffmpeg_decodes_them(depth: int, colour: int, has_clear: bool) -> None:
    generator = np.random.default_rng(depth + colour)
    channels = {0: (), 3: (), 2: (3,), 4: (2,), 6: (4,)}[colour]
    values = generator.integers(0, 2**depth if colour != INDEXED else 4, (9, 13, *channels))
    extra = [chunk(b"PLTE", PALETTE)] if colour == INDEXED else []
    if has_clear and colour in (0, 2):
        extra.append(chunk(b"tRNS", np.atleast_1d(values[0, 0]).astype(">u2").tobytes()))
    if has_clear and colour == INDEXED:
        extra.append(chunk(b"tRNS", b"\x00\x80\xff"))
    media = png(values, depth, colour, *extra)
    rgba = by_ffmpeg(media).astype(float)
    alpha = rgba[..., 3:] / 255
    if depth < 8 and has_clear and colour == GREY:
        alpha = (values != values[0, 0])[..., None]  # FFmpeg does not scale tRNS as it does the values
    assert np.abs(pixels(media) - (rgba[..., :3] * alpha + 255 * (1 - alpha))).max() <= 1


def test_sixteen_bits_with_alpha() -> None:
    values = np.array([[[65_535, 0, 0, 0], [0, 65_535, 0, 65_535]]])
    assert pixels(png(values, 16, 6))[0].tolist() == [WHITE_RGB, LIME_RGB]
    assert pixels(png(np.array([[[0, 0], [0, 65_535]]]), 16, 4))[0].tolist() == [WHITE_RGB, [0, 0, 0]]


# --- animations, and what no frame covers


WHOLE = (0, 0, 8, 8)
CORNER = (0, 0, 4, 4)
MIDDLE = (2, 2, 4, 4)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_animations_as_their_library_wrote_them(kind: str) -> None:
    """Written by Pillow, which stores what has changed; each frame comes back."""
    frames = [Image.new("RGB", (24, 16), "white") for _ in range(5)]
    for number, frame in enumerate(frames):
        frame.paste((200, 40 * number, 0), (3 * number, 2 * number, 3 * number + 9, 2 * number + 6))
    settings = {"lossless": True} if kind == "WEBP" else {}
    media = encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=70, **settings)
    found = list(animation_frames(media))
    assert len(found) == 5 and animation_rate(media) == (5, Fraction(100, 7))
    for one, other in zip(found, frames, strict=True):
        assert np.abs(one.astype(int) - np.asarray(other)).max() <= 1


def test_webp_frames_with_transparency_as_libwebp_shows_them() -> None:
    frames = []
    for number in range(4):
        frame = Image.new("RGBA", (24, 16))
        frame.paste((200, 60 * number, 0, 160), (4 * number, 2, 4 * number + 9, 12))
        frames.append(frame)
    for settings in ({"lossless": True}, {"quality": 90}):
        media = encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], duration=70, **settings)
        by_libwebp = Image.open(io.BytesIO(media))
        for number, found in enumerate(animation_frames(media)):
            by_libwebp.seek(number)
            rgba = np.asarray(by_libwebp.convert("RGBA")).astype(float)
            alpha = rgba[..., 3:] / 255
            assert np.abs(found - (rgba[..., :3] * alpha + 255 * (1 - alpha))).max() <= 2


RED_FRAME, BLUE_FRAME, HALF = (solid(8, 8, colour) for colour in ((255, 0, 0, 255), (0, 0, 255, 255), (0, 0, 0, 128)))


# --- how long


@pytest.mark.parametrize(
    ("delays", "length_sec"),
    [([3000] * 3, 90), ([1, 0, 10], 0.3), ([2] * 5, 0.1), ([2, 500, 7], 5.09), ([6000, 4], 60.04)],
)
def test_a_clip_lasts_as_long_as_its_animation(delays: list[int], length_sec: float) -> None:
    """Delays in 1/100 s."""
    media = gif((8, 8), *((WHOLE, number % 4, delay, 1, None) for number, delay in enumerate(delays)))
    count, rate = animation_rate(media)
    assert count / rate == pytest.approx(length_sec, abs=1e-9)
    made = examine(media, LIMITS)
    assert made.num_frames == len(delays) and made.duration_sec == pytest.approx(length_sec, rel=2e-5)


def test_too_long() -> None:
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "blue", "lime")]
    for media in (
        gif((8, 8), *((WHOLE, number % 4, 65_535, 1, None) for number in range(3))),
        encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], duration=16_777_215),
        apng(
            *(8, 8, 2),
            control(0, WHOLE, (60_000, 1)) + chunk(b"IDAT", RED_FRAME),
            control(1, WHOLE) + frame_data(2, BLUE_FRAME),
        ),
    ):
        assert reason(media, lambda each: examine(each, LIMITS)) == "too_long"


# --- cut between frames, and too much work


def cut_animations() -> dict[str, list[bytes]]:
    """Files that end between two frames, or after the last without their end."""
    frames = [((number, 0, 4, 4), number % 4, 10, 1, None) for number in range(4)]
    apng_frames = [control(0, WHOLE) + chunk(b"IDAT", RED_FRAME), control(1, WHOLE) + frame_data(2, BLUE_FRAME)]
    images = [Image.new("RGB", (32, 32), (70 * number, 0, 0)) for number in range(3)]
    webp = encoded(images[0], "WEBP", save_all=True, append_images=images[1:], duration=50)
    starts = [place for place in range(len(webp)) if webp[place : place + 4] == b"ANMF"]
    return {
        "gif": [gif((8, 8), *frames[:count], end=b"") for count in range(1, 5)],
        "png": [
            apng(8, 8, 2, apng_frames[0]),
            apng(8, 8, 2, apng_frames[0], end=b""),
            apng(8, 8, 2, *apng_frames, end=b""),
            apng(8, 8, 3, *apng_frames),
        ],
        "webp": [webp[:place] for place in starts],
    }


@pytest.mark.parametrize("kind", ["gif", "png", "webp"])
def test_an_animation_cut_between_frames_is_truncated(kind: str) -> None:
    for media in cut_animations()[kind]:
        for read in (open_image, animation_rate, lambda each: list(animation_frames(each))):
            assert reason(media, read) == "truncated"


def test_work_is_bounded_before_it_is_done() -> None:
    """Each file is small; its canvas, or its frames, are not."""
    dots = [((0, 0, 1, 1), number % 4, 10, 1, None) for number in range(60)]
    huge_frames = bytearray(gif((4, 4), *dots))
    for place in range(len(huge_frames) - 10):
        if huge_frames[place : place + 10] == b"\x2c\0\0\0\0\x01\0\x01\0\0":
            huge_frames[place + 5 : place + 9] = b"\xa0\x0f\xa0\x0f"
    for media in (gif((4000, 4000), *dots), bytes(huge_frames)):
        assert len(media) < 2000
        started = time.process_time()
        assert reason(media, lambda each: examine(each, LIMITS)) == "too_many_pixels"
        assert time.process_time() - started < 0.2


def test_packed_is_what_pillow_reads() -> None:
    values = np.arange(24).reshape(4, 6) * 10
    assert zlib.decompress(packed(values, 8))[:7] == b"\0" + bytes(range(0, 60, 10))
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png(values, 8, GREY)))), values)
