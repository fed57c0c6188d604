"""GIF as browsers show it: what no frame covers, what becomes of a frame, and where a file ends."""

import pytest

from pipelines.shared.examine import examine
from pipelines.shared.media import MediaLimits
from pipelines.shared.pictures import open_image
from tests.pipelines.shared.picture_files import (
    BLUE,
    BLUE_RGB,
    LIME,
    LIME_RGB,
    RED,
    RED_RGB,
    WHITE_RGB,
    colours_at,
    gif,
    pixels,
)

WHOLE = (0, 0, 8, 8)
CORNER = (0, 0, 4, 4)
MIDDLE = (2, 2, 4, 4)
LIMITS = MediaLimits()


def test_a_frame_smaller_than_its_canvas_stands_on_white() -> None:
    media = gif((8, 8), (MIDDLE, RED, 10, 0, None))
    assert pixels(media)[4, 4].tolist() == RED_RGB and pixels(media)[0, 0].tolist() == WHITE_RGB
    assert open_image(media).size == (8, 8) and examine(media, LIMITS).extension == "png"


@pytest.mark.parametrize(
    ("disposal", "expected"),
    [(0, BLUE_RGB), (1, BLUE_RGB), (2, WHITE_RGB), (3, RED_RGB), (4, RED_RGB), (7, BLUE_RGB)],
)
def test_disposal_of_a_gif(disposal: int, expected: list[int]) -> None:
    """Red everywhere, then blue in the corner, then lime in the middle: what is in the corner then?"""
    media = gif((8, 8), (WHOLE, RED, 10, 1, None), (CORNER, BLUE, 10, disposal, None), (MIDDLE, LIME, 10, 1, None))
    assert colours_at(media, (0, 0), (4, 4), (7, 7)) == [
        [RED_RGB, RED_RGB, RED_RGB],
        [BLUE_RGB, RED_RGB, RED_RGB],
        [expected, LIME_RGB, RED_RGB],
    ]


def test_disposal_of_the_first_frame_leaves_white() -> None:
    for disposal in (2, 3):
        media = gif((8, 8), (WHOLE, RED, 10, disposal, None), (CORNER, BLUE, 10, 1, None))
        assert colours_at(media, (0, 0), (7, 7)) == [[RED_RGB, RED_RGB], [BLUE_RGB, WHITE_RGB]]


def test_what_a_gif_frame_does_not_paint() -> None:
    """Its transparent colour, an index beyond the palette, and what lies outside the canvas."""
    clear = gif((8, 8), (WHOLE, RED, 10, 1, None), (WHOLE, BLUE, 10, 1, BLUE))
    assert colours_at(clear, (3, 3)) == [[RED_RGB], [RED_RGB]]
    outside = gif((8, 8), (WHOLE, RED, 10, 1, None), ((6, 6, 9, 9), BLUE, 10, 2, None), (CORNER, LIME, 10, 1, None))
    assert colours_at(outside, (7, 7), (5, 5)) == [[RED_RGB, RED_RGB], [BLUE_RGB, RED_RGB], [WHITE_RGB, RED_RGB]]
    small = bytearray(gif((8, 8), (WHOLE, LIME, 10, 1, None)))
    small[10] = 0x80
    del small[13 + 6 : 13 + 12]
    assert pixels(bytes(small))[0, 0].tolist() == WHITE_RGB


def test_strips_are_frames() -> None:
    media = gif((60, 60), ((0, 0, 60, 60), RED, 10, 1, None), ((0, 5, 60, 1), BLUE, 10, 1, None))
    assert colours_at(media, (5, 59), (6, 59)) == [[RED_RGB, RED_RGB], [BLUE_RGB, RED_RGB]]
