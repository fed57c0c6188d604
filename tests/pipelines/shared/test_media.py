"""Limits, and the boxes of an MP4."""

import struct

import pytest

from pipelines.shared.media import MediaError, MediaLimits, check_boxes


def box(kind: bytes, size: int) -> bytes:
    return struct.pack(">I4s", size, kind) + bytes(size - 8)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_pixels", 0),
        ("max_pixels", 50_000_001),
        ("max_side_px", 16_384),
        ("max_frames", 0),
        ("max_clip_pixels", -1),
        ("max_aspect", 0.5),
    ],
)
def test_ranges(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} must be from 1 to .*, got {value}"):
        MediaLimits(**{name: value})


@pytest.mark.parametrize(
    ("size", "reason"),
    [
        ((100, 100, 1), None),
        ((16_383, 820, 1), None),
        ((100, 2000, 1), None),
        ((100, 2001, 1), "aspect_limit"),
        ((16_384, 1000, 1), "side_limit"),
        ((10_000, 5_001, 1), "too_many_pixels"),
        ((1000, 1000, 4_001), "too_many_pixels"),
        ((10, 10, 18_001), "too_many_frames"),
        ((0, 10, 1), "decode_error"),
    ],
)
def test_check(size: tuple[int, int, int], reason: str | None) -> None:
    if reason is None:
        MediaLimits().check(*size)
    else:
        with pytest.raises(MediaError, match=reason):
            MediaLimits().check(*size)


def test_boxes() -> None:
    whole = box(b"ftyp", 20) + box(b"moov", 100) + box(b"mdat", 50)
    check_boxes(whole)
    check_boxes(whole + struct.pack(">I4s", 0, b"mdat") + b"to the end")
    check_boxes(struct.pack(">I4sQ", 1, b"mdat", 30) + bytes(14) + box(b"free", 8))
    for media in (whole[:-1], whole + box(b"free", 20)[:-1], box(b"ftyp", 20) + b"\x7f\xff\xff\xffmdat"):
        with pytest.raises(MediaError, match="truncated"):
            check_boxes(media)
    with pytest.raises(MediaError, match="decode_error"):
        check_boxes(struct.pack(">I4s", 7, b"free") * 4)
