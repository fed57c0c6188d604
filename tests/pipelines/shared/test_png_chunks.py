"""APNG as browsers show it, and what of a PNG must be whole."""

import io
import time
import zlib
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from pipelines.shared.examine import examine
from pipelines.shared.media import MediaLimits
from pipelines.shared.pictures import animation_frames, animation_rate, is_shown_otherwise
from tests.pipelines.shared.picture_files import (
    BLUE_RGB,
    INDEXED,
    LIME_RGB,
    PALETTE,
    RED_RGB,
    WHITE_RGB,
    apng,
    chunk,
    colours_at,
    control,
    encoded,
    exif,
    frame_data,
    pixels,
    png,
    reason,
    smooth,
    solid,
    turned,
    with_chunk,
)

WHOLE = (0, 0, 8, 8)
CORNER = (0, 0, 4, 4)
MIDDLE = (2, 2, 4, 4)
LIMITS = MediaLimits()
CLEAN = {"PNG": encoded(smooth(), "PNG")}


RED_FRAME, BLUE_FRAME, HALF = (solid(8, 8, colour) for colour in ((255, 0, 0, 255), (0, 0, 255, 255), (0, 0, 0, 128)))


@pytest.mark.parametrize("kind", [b"IHDR", b"PLTE", b"tRNS", b"IDAT"])
def test_damage_to_what_pixels_need_is_found(kind: bytes) -> None:
    media = bytearray(png(np.array([[0, 1], [1, 0]]), 8, INDEXED, chunk(b"PLTE", PALETTE), chunk(b"tRNS", b"\x80\xff")))
    media[media.index(kind) + 5] ^= 1
    assert reason(bytes(media)) == "decode_error"


def test_an_unknown_chunk_that_pixels_need_is_refused() -> None:
    assert reason(with_chunk(CLEAN["PNG"], chunk(b"ABCD", b"x"))) == "decode_error"


def test_apng_disposal_and_blending() -> None:
    small = solid(4, 4, (0, 0, 255, 255))
    for dispose, expected in ((0, BLUE_RGB), (1, WHITE_RGB), (2, RED_RGB)):
        media = apng(
            *(8, 8, 3),
            control(0, WHOLE) + chunk(b"IDAT", RED_FRAME),
            control(1, CORNER, dispose=dispose) + frame_data(2, small),
            control(3, MIDDLE) + frame_data(4, solid(4, 4, (0, 255, 0, 255))),
        )
        assert [frame[0] for frame in colours_at(media, (0, 0))] == [RED_RGB, BLUE_RGB, expected]
    for blend, expected in ((0, [127, 127, 127]), (1, [127, 0, 0])):
        media = apng(
            *(8, 8, 2),
            control(0, WHOLE) + chunk(b"IDAT", RED_FRAME),
            control(1, WHOLE, blend=blend) + frame_data(2, HALF),
        )
        assert np.abs(np.array(colours_at(media, (3, 3))[1][0]) - expected).max() <= 1


def test_a_default_image_that_is_no_frame_is_not_shown() -> None:
    """As in browsers. An animation of one frame is a still picture, and is written so that every program shows it."""
    frames = [
        control(0, WHOLE) + frame_data(1, BLUE_FRAME),
        control(2, WHOLE) + frame_data(3, solid(8, 8, (0, 255, 0, 255))),
    ]
    two = apng(8, 8, 2, chunk(b"IDAT", RED_FRAME), *frames)
    assert pixels(two)[0, 0].tolist() == BLUE_RGB
    assert colours_at(two, (0, 0)) == [[BLUE_RGB], [LIME_RGB]] and animation_rate(two) == (2, 10)
    one = apng(8, 8, 1, chunk(b"IDAT", RED_FRAME), frames[0])
    made = examine(one, LIMITS)
    assert is_shown_otherwise(one) and pixels(one)[0, 0].tolist() == BLUE_RGB
    assert made.converted is not None and made.extension == "png" and made.num_frames == 1
    assert np.asarray(Image.open(io.BytesIO(made.converted)))[0, 0].tolist() == BLUE_RGB
    same = apng(8, 8, 1, control(0, WHOLE) + chunk(b"IDAT", RED_FRAME))
    assert not is_shown_otherwise(same) and examine(same, LIMITS).converted is None
    assert pixels(same)[0, 0].tolist() == RED_RGB


def test_an_animation_is_turned_too() -> None:
    media = apng(
        *(8, 4, 2),
        chunk(b"eXIf", exif(turned(6))),
        control(0, (0, 0, 8, 4)) + chunk(b"IDAT", solid(8, 4, (255, 0, 0, 255))),
        control(1, (0, 0, 2, 4)) + frame_data(2, solid(2, 4, (0, 0, 255, 255))),
    )
    first, second = animation_frames(media)
    assert first.shape == second.shape == (8, 4, 3)
    assert second[0, 0].tolist() == BLUE_RGB and second[7, 0].tolist() == RED_RGB


def test_delays_of_ten_milliseconds_and_less_are_a_tenth_of_a_second() -> None:
    """As in Chromium, Firefox and WebKit; 60 frames per second are kept."""
    for delay, shown in (((0, 0), 10), ((1, 100), 10), ((1, 60), 60), ((11, 1000), Fraction(1000, 11)), ((1, 0), 10)):
        media = apng(
            *(8, 8, 2),
            control(0, WHOLE, delay) + chunk(b"IDAT", RED_FRAME),
            control(1, WHOLE, delay) + frame_data(2, BLUE_FRAME),
        )
        assert animation_rate(media) == (2, shown)


def test_frames_out_of_order_or_outside_are_refused() -> None:
    first, second = control(0, WHOLE) + chunk(b"IDAT", RED_FRAME), control(1, (4, 4, 8, 8)) + frame_data(2, BLUE_FRAME)
    assert reason(apng(8, 8, 2, first, second)) == "decode_error"
    assert reason(apng(8, 8, 2, first, control(2, WHOLE) + frame_data(3, BLUE_FRAME))) == "decode_error"
    assert reason(apng(8, 8, 1, first, control(1, WHOLE) + frame_data(2, BLUE_FRAME))) == "decode_error"
    assert reason(apng(8, 8, 1, control(0, CORNER) + chunk(b"IDAT", RED_FRAME))) == "decode_error"


def test_many_chunks_cost_nothing() -> None:
    many = with_chunk(CLEAN["PNG"], *([chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(10_000)))] * 10_000))
    started = time.process_time()
    assert np.array_equal(pixels(many), pixels(CLEAN["PNG"]))
    assert time.process_time() - started < 0.5
