"""Metadata that nobody reads, whole and broken, costs no picture of any format; the orientation is read beside it."""

import zlib

import numpy as np
import pytest

from pipelines.shared.examine import examine
from pipelines.shared.media import MediaLimits
from pipelines.shared.pictures import animation_rate, image_size
from tests.pipelines.shared.picture_files import (
    chunk,
    encoded,
    exif,
    pixels,
    smooth,
    turned,
    with_chunk,
    with_riff_chunk,
    with_segment,
)

LIMITS = MediaLimits()


NO_OFFSET = (0x8769, 4, 1, b"\xff\xff\xff\xff")


HUGE_COUNT = (0x010F, 2, 2**32 - 1, b"\x08\0\0\0")


ODD_KIND = (0x9204, 999, 7, bytes(4))


JUNK = np.random.default_rng(5).bytes(300)


CLEAN = {kind: encoded(smooth(), kind) for kind in ("JPEG", "PNG", "WEBP", "GIF")}


METADATA = {
    "jpeg: exif of junk": with_segment(CLEAN["JPEG"], 0xE1, b"Exif\0\0" + JUNK),
    "jpeg: exif, pointer outside": with_segment(
        CLEAN["JPEG"], 0xE1, b"Exif\0\0" + exif(NO_OFFSET, HUGE_COUNT, ODD_KIND)
    ),
    "jpeg: exif of two bytes": with_segment(CLEAN["JPEG"], 0xE1, b"Exif\0\0II"),
    "jpeg: exif that starts outside": with_segment(CLEAN["JPEG"], 0xE1, b"Exif\0\0II*\0\xff\xff\xff\xff"),
    "jpeg: broken profile": with_segment(CLEAN["JPEG"], 0xE2, b"ICC_PROFILE\0\x03\x01" + JUNK),
    "jpeg: short profile": with_segment(CLEAN["JPEG"], 0xE2, b"ICC_PROFILE\0"),
    "jpeg: broken multi-picture index": with_segment(CLEAN["JPEG"], 0xE2, b"MPF\0" + JUNK),
    "jpeg: broken photoshop block": with_segment(CLEAN["JPEG"], 0xED, b"Photoshop 3.0\x008BIM\x04"),
    "jpeg: empty photoshop block": with_segment(CLEAN["JPEG"], 0xED, b"Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\xff\xff"),
    "jpeg: short jfif": with_segment(CLEAN["JPEG"], 0xE0, b"JFIF\0\x01"),
    "jpeg: short adobe": with_segment(CLEAN["JPEG"], 0xEE, b"Adobe\0"),
    "jpeg: xmp of junk": with_segment(CLEAN["JPEG"], 0xE1, b"http://ns.adobe.com/xap/1.0/\0" + JUNK),
    "jpeg: comment": with_segment(CLEAN["JPEG"], 0xFE, JUNK),
    "jpeg: bytes after its end": CLEAN["JPEG"] + JUNK,
    "png: long compressed text": with_chunk(CLEAN["PNG"], chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(3_000_000)))),
    "png: long text": with_chunk(CLEAN["PNG"], chunk(b"tEXt", b"a\0" + bytes(3_000_000))),
    "png: long international text": with_chunk(
        CLEAN["PNG"], chunk(b"iTXt", b"a\0\x01\0\0\0" + zlib.compress(bytes(3_000_000)))
    ),
    "png: text that is not compressed": with_chunk(CLEAN["PNG"], chunk(b"zTXt", b"a\0\0" + JUNK)),
    "png: text without a key": with_chunk(CLEAN["PNG"], chunk(b"iTXt", b""), chunk(b"zTXt", b""), chunk(b"tEXt", b"")),
    "png: text not in UTF-8": with_chunk(CLEAN["PNG"], chunk(b"iTXt", b"\xff\0\0\0\xff\0\xff\xfe")),
    "png: wrong checksum of text": with_chunk(CLEAN["PNG"], chunk(b"tEXt", b"a\0b", crc=0)),
    "png: wrong checksum of exif": with_chunk(CLEAN["PNG"], chunk(b"eXIf", exif(turned(6)), crc=0)),
    "png: broken profile": with_chunk(CLEAN["PNG"], chunk(b"iCCP", b"a\0\0" + JUNK)),
    "png: huge profile": with_chunk(CLEAN["PNG"], chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(90_000_000)))),
    "png: profile of another kind": with_chunk(CLEAN["PNG"], chunk(b"iCCP", b"a\0\x07" + JUNK)),
    "png: short gamma and density": with_chunk(
        CLEAN["PNG"], *(chunk(kind) for kind in (b"gAMA", b"pHYs", b"cHRM", b"sRGB"))
    ),
    "png: exif of junk": with_chunk(CLEAN["PNG"], chunk(b"eXIf", JUNK)),
    "png: raw profile": with_chunk(CLEAN["PNG"], chunk(b"tEXt", b"Raw profile type exif\0\nexif\n  9\nzz")),
    "png: chunk after its end": CLEAN["PNG"] + JUNK,
    "png: animation of no frames": with_chunk(CLEAN["PNG"], chunk(b"acTL", bytes(8))),
    "png: short animation header": with_chunk(CLEAN["PNG"], chunk(b"acTL", b"\0\0")),
    "png: frame without an animation": with_chunk(CLEAN["PNG"], chunk(b"fcTL", JUNK)),
    "webp: exif of junk": with_riff_chunk(CLEAN["WEBP"], b"EXIF", JUNK),
    "webp: broken profile": with_riff_chunk(CLEAN["WEBP"], b"ICCP", JUNK),
    "webp: xmp of junk": with_riff_chunk(CLEAN["WEBP"], b"XMP ", JUNK),
    "webp: chunk of a wrong length": with_riff_chunk(CLEAN["WEBP"], b"XMP ", JUNK, length=2**31),
    "webp: unknown chunk": with_riff_chunk(CLEAN["WEBP"], b"abcd", JUNK),
    "webp: bytes after its end": CLEAN["WEBP"] + JUNK,
    "gif: comment": CLEAN["GIF"][:-1] + b"\x21\xfe\xff" + bytes(255) + b"\0;",
    "gif: other program's extension": CLEAN["GIF"][:-1] + b"\x21\xff\x03abc\x05hello\0;",
    "gif: short graphic control": CLEAN["GIF"][:-1] + b"\x21\xf9\x01\x01\0;",
    "gif: bytes after its end": CLEAN["GIF"] + JUNK,
}


@pytest.mark.parametrize("name", METADATA)
def test_unread_metadata_costs_no_picture(name: str) -> None:
    kind = name.partition(":")[0].upper()
    assert np.array_equal(pixels(METADATA[name]), pixels(CLEAN[kind]))
    assert image_size(METADATA[name]) == (33, 20) and animation_rate(METADATA[name]) == (1, 0)
    assert examine(METADATA[name], LIMITS).extension == {"jpeg": "jpg", "gif": "png"}.get(kind.lower(), kind.lower())


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("extra", [(), (NO_OFFSET,), (HUGE_COUNT, ODD_KIND)], ids=["alone", "pointer", "odd"])
def test_orientation_is_read_beside_broken_tags(order: str, extra: tuple) -> None:
    data = exif(*extra, turned(6, order), order="<") if order == "<" else exif(turned(6, order), order=order)
    for media, clean in (
        (with_segment(CLEAN["JPEG"], 0xE1, b"Exif\0\0" + data), "JPEG"),
        (with_chunk(CLEAN["PNG"], chunk(b"eXIf", data)), "PNG"),
        (CLEAN["PNG"][:-12] + chunk(b"eXIf", data) + chunk(b"IEND"), "PNG"),
        (with_riff_chunk(CLEAN["WEBP"], b"EXIF", data), "WEBP"),
        (with_riff_chunk(CLEAN["WEBP"], b"EXIF", b"Exif\0\0" + data), "WEBP"),
    ):
        assert np.array_equal(pixels(media), np.rot90(pixels(CLEAN[clean]), -1))
        assert image_size(media) == (20, 33)
