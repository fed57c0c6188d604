"""Limits, and the boxes of an MP4."""

import struct
import time

import pytest

from pipelines.shared.media import MediaError, MediaLimits, as_media_error, check_boxes, is_mp4


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
        ("max_animation_pixels", 0),
        ("max_animation_pixels", 4 * 10**9 + 1),
    ],
)
def test_ranges(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} must be from 1 to .*, got {value}"):
        MediaLimits(**{name: value})


@pytest.mark.parametrize("value", [0, -1, 3601, float("nan")])
def test_range_of_durations(value: float) -> None:
    with pytest.raises(ValueError, match=f"max_duration_sec must be above 0 and at most 3600, got {value}"):
        MediaLimits(max_duration_sec=value)


def test_limits_of_animations_and_of_time() -> None:
    limits = MediaLimits(max_animation_pixels=1000, max_duration_sec=2)
    limits.check_animation(10, 10, 10, 1000)
    limits.check_duration(2)
    for check, reason in (
        (lambda: limits.check_animation(10, 10, 10, 1001), "too_many_pixels"),
        (lambda: limits.check_animation(10, 10, 18_001, 1000), "too_many_frames"),
        (lambda: limits.check_duration(2.01), "too_long: more than 2 s"),
    ):
        with pytest.raises(MediaError, match=reason):
            check()


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


WHOLE = box(b"ftyp", 20) + box(b"moov", 100) + box(b"mdat", 50)
PIECES = box(b"ftyp", 20) + box(b"moov", 100) + box(b"moof", 40) + box(b"mdat", 50)


@pytest.mark.parametrize("tail", [b"\x00", b"abcdefg", bytes(9), bytes(100), b"\xff" * 30, b"\0\0\0\x05 odd size"])
def test_bytes_after_the_last_box(tail: bytes) -> None:
    check_boxes(WHOLE + tail)


@pytest.mark.parametrize("name", [b"mdat", b"moov", b"free", b"uuid", b"moof", b"meta"])
def test_a_cut_box_after_the_last_whole_one(name: bytes) -> None:
    with pytest.raises(MediaError, match="truncated"):
        check_boxes(WHOLE + struct.pack(">I4s", 900, name) + bytes(30))


@pytest.mark.parametrize("start", [box(b"ftyp", 20), box(b"ftyp", 20) + box(b"moov", 100), PIECES])
@pytest.mark.parametrize("tail", [b"\0\0\x01", b"abcdefg"])
def test_a_header_that_is_cut(start: bytes, tail: bytes) -> None:
    """Where more must come, or may: the index, the data, the next piece of a file in pieces."""
    with pytest.raises(MediaError, match="truncated"):
        check_boxes(start + tail)
    check_boxes(PIECES + bytes(40))


def test_a_file_in_pieces_that_is_over() -> None:
    for tail in (b"\r\n", b"stray bytes", bytes(5), b"\xff" * 30):
        check_boxes(PIECES + box(b"mfra", 20) + tail)


def test_a_piece_without_its_data() -> None:
    with pytest.raises(MediaError, match="truncated"):
        check_boxes(PIECES + box(b"moof", 40))


@pytest.mark.parametrize("version", [0, 1])
def test_a_cut_between_listed_pieces(version: int) -> None:
    piece = box(b"moof", 40) + box(b"mdat", 50)
    times = struct.pack(">QQ" if version else ">II", 0, 10)
    listed = struct.pack(">II", 1, 1000) + times + struct.pack(">HH", 0, 2)
    entries = struct.pack(">III", len(piece), 1, 0x90000000) * 2
    start = box(b"moov", 100) + containing(b"sidx", bytes((version, 0, 0, 0)), listed, entries) + box(b"free", 10)
    check_boxes(start + piece * 2)
    for cut in (start + piece, start, (start + piece * 2)[:-1]):
        with pytest.raises(MediaError, match="truncated"):
            check_boxes(cut)
    check_boxes(box(b"moov", 100) + containing(b"sidx", b"\x01") + box(b"mdat", 20))


def test_many_boxes_cost_their_number() -> None:
    started = time.process_time()
    check_boxes(box(b"ftyp", 20) + box(b"moov", 100) + box(b"mdat", 8_000_000) + box(b"free", 8) * 20_000)
    assert time.process_time() - started < 3


def containing(kind: bytes, *inner: bytes) -> bytes:
    content = b"".join(inner)
    return struct.pack(">I4s", 8 + len(content), kind) + content


def track(*codecs: bytes) -> bytes:
    entries = b"".join(box(codec, 30) for codec in codecs)
    described = containing(b"stsd", struct.pack(">II", 0, len(codecs)), entries)
    return containing(
        b"trak", box(b"tkhd", 20), containing(b"mdia", containing(b"minf", containing(b"stbl", described)))
    )


def test_tracks_are_counted_before_anything_is_opened() -> None:
    check_boxes(containing(b"moov", *([track(b"avc1")] * 8)) + box(b"mdat", 20))
    with pytest.raises(MediaError, match="type_refused: 1000 streams"):
        check_boxes(containing(b"moov", *([track(b"avc1")] * 1000)) + box(b"mdat", 20))


def test_a_track_that_changes_its_codec() -> None:
    check_boxes(containing(b"moov", track(b"avc1", b"avc1"), track(b"mp4a")) + box(b"mdat", 20))
    with pytest.raises(MediaError, match="clip_changes"):
        check_boxes(containing(b"moov", track(b"mp4a"), track(b"avc1", b"hvc1")) + box(b"mdat", 20))


def first_box(*brands: bytes, size: int | None = None) -> bytes:
    content = b"ftyp" + brands[0] + bytes(4) + b"".join(brands[1:])
    return struct.pack(">I", size or 4 + len(content)) + content


def test_brands() -> None:
    for brands in (
        (b"isom",),
        (b"iso5", b"abcd"),
        (b"XAVC", b"mp42"),
        (b"XAVC", b"aaaa", b"bbbb", b"iso2"),
        (b"dash",),
    ):
        assert is_mp4(first_box(*brands))
    for brands in ((b"XAVC",), (b"qt  ", b"qt  "), (b"avif", b"isom"), (b"heic", b"mp42"), (b"jp2 ", b"jp2 ")):
        assert not is_mp4(first_box(*brands))
    assert not is_mp4(first_box(b"XAVC", b"mp42", size=16)), "the box ends before the brand"
    assert not is_mp4(first_box(b"XAVC") + b"mp42mp42") and not is_mp4(b"") and not is_mp4(b"\0\0\0\x14ftyp")
    late = first_box(b"XAVC", *([b"abcd"] * 100), b"mp42")
    assert is_mp4(late) == is_mp4(late[:64]), "the head tells as much as the whole"


def test_whatever_a_decoder_raises_is_a_media_error() -> None:
    for error, reason in (
        (ZeroDivisionError("0x7f"), "decode_error: ZeroDivisionError"),
        (OSError("image file is truncated (1 bytes)"), "truncated"),
        (MemoryError(), "decode_error: MemoryError"),
        (MediaError("too_long"), "too_long"),
    ):
        with pytest.raises(MediaError, match=f"^{reason}"), as_media_error():
            raise error
