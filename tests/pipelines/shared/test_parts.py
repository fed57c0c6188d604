"""The orientation in Exif bytes, whatever they are, and how long frames are shown."""

import struct
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipelines.shared.parts import orientation_of, shown_delay
from tests.pipelines.shared.picture_files import exif, turned


@given(st.binary(max_size=80))
def test_any_bytes_give_an_orientation(data: bytes) -> None:
    for start in (b"", b"Exif\0\0", b"II*\0", b"MM\0*\0\0\0\x08", b"Exif\0\0II*\0\x08\0\0\0"):
        assert 1 <= orientation_of(start + data) <= 8


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("order", ["<", ">"])
def test_orientations(orientation: int, order: str) -> None:
    assert orientation_of(exif(turned(orientation, order), order=order)) == orientation
    by_pillow = Image.Exif()
    by_pillow[0x010F], by_pillow[0x0112] = "maker", orientation
    assert orientation_of(by_pillow.tobytes()) == orientation


def test_kinds_of_integers() -> None:
    assert orientation_of(exif((0x0112, 4, 1, struct.pack("<I", 6)))) == 6
    assert orientation_of(exif((0x0112, 1, 1, b"\x06\0\0\0"))) == 6


@pytest.mark.parametrize(
    "entry",
    [turned(0), turned(9), (0x0112, 5, 1, bytes(4)), (0x0112, 3, 2, b"\6\0\6\0"), (0x0112, 2, 1, b"6\0\0\0")],
    ids=["0", "9", "rational", "two", "text"],
)
def test_what_is_no_orientation(entry: tuple[int, int, int, bytes]) -> None:
    assert orientation_of(exif(entry)) == 1


def test_a_directory_that_says_too_much() -> None:
    data = bytearray(exif(turned(3)))
    data[8:10] = b"\xff\xff"
    assert orientation_of(bytes(data)) == 3


def test_delays() -> None:
    tenth = Fraction(1, 10)
    for delay, shown in ((Fraction(0), tenth), (Fraction(1, 100), tenth), (Fraction(11, 1000), Fraction(11, 1000))):
        assert shown_delay(delay) == shown
