"""Pictures and clips changed at random, bytes and pieces: each is a sample or has one of our reasons, and in time."""

import io
import random
import time
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from pipelines.shared.decode import encode_clip
from pipelines.shared.examine import examine
from pipelines.shared.media import MediaError, MediaLimits
from pipelines.shared.reasons import status_of

LIMITS = MediaLimits(max_pixels=1_000_000, max_clip_pixels=4_000_000, max_frames=200)
KINDS = ("JPEG", "PROGRESSIVE", "PNG", "APNG", "WEBP", "LOSSLESS", "AWEBP", "GIF", "AGIF", "MP4")
MARKS = {
    "JPEG": (b"\xff\xda", b"\xff\xc4", b"\xff\xdb", b"\xff\xc0"),
    "PNG": (b"IHDR", b"IDAT", b"fcTL", b"PLTE"),
    "WEBP": (b"VP8 ", b"VP8L", b"VP8X", b"ANMF"),
    "GIF": (b"\x21\xf9", b"\x2c"),
    "MP4": (b"moov", b"trak", b"stsz", b"stts", b"stco", b"mdat", b"avcC", b"tkhd"),
}
MOST_SEC = 5.0


def frames(count: int) -> list[Image.Image]:
    y, x = np.mgrid[0:24, 0:32]
    shapes = [np.stack([x * 7, y * 9, (x + y + 5 * index) * 4 % 256], -1) for index in range(count)]
    return [Image.fromarray(shape.astype(np.uint8)) for shape in shapes]


def whole(kind: str) -> bytes:
    if kind == "MP4":
        return encode_clip([np.asarray(each) for each in frames(5)], 5.0)
    first, *rest = frames(3 if kind.startswith("A") else 1)
    settings = {"save_all": True, "append_images": rest, "duration": 100} if rest else {}
    settings |= {"PROGRESSIVE": {"progressive": True}, "LOSSLESS": {"lossless": True}}.get(kind, {})
    buffer = io.BytesIO()
    form = {"PROGRESSIVE": "JPEG", "LOSSLESS": "WEBP"}.get(kind, kind.removeprefix("A"))
    first.save(buffer, form, **settings)
    return buffer.getvalue()


def mutated(media: bytes, marks: tuple[bytes, ...], chance: random.Random) -> bytes:
    """One to four changes: bytes, bits, cuts, repeats, insertions, and numbers beside the marks of the format."""
    content = bytearray(media)
    for _ in range(chance.randint(1, 4)):
        place, length = chance.randrange(len(content)), chance.randint(1, 64)
        match chance.randrange(7):
            case 0:
                content[place] = chance.randrange(256)
            case 1:
                content[place] ^= 1 << chance.randrange(8)
            case 2:
                del content[place : place + length]
            case 3:
                content[place:place] = content[place : place + length]
            case 4:
                content[place:place] = chance.randbytes(length)
            case 5:
                content[place : place + 4] = chance.choice([bytes(4), b"\xff" * 4, b"\x7f\xff\xff\xff", b"\x80\0\0\0"])
            case _:
                at = content.find(chance.choice(marks)) + chance.randint(-4, 16)
                if 0 <= at < len(content):
                    content[at] = chance.choice([0, 1, 127, 128, 255, chance.randrange(256)])
        if not content:
            return b""
    return bytes(content)


@pytest.mark.filterwarnings("ignore:Image size")
@pytest.mark.parametrize("count", [60, pytest.param(5000, marks=[pytest.mark.slow, pytest.mark.timeout(1200)])])
@pytest.mark.parametrize("kind", KINDS)
def test_mutated(kind: str, count: int) -> None:
    media, chance, reasons = whole(kind), random.Random(f"{kind} {count}"), Counter()
    family = next(name for name in MARKS if name in {"PROGRESSIVE": "JPEG", "LOSSLESS": "WEBP"}.get(kind, kind))
    for _ in range(count):
        body = mutated(media, MARKS[family], chance)
        started = time.monotonic()
        try:
            examine(body, LIMITS)
        except MediaError as error:
            reasons[error.reason] += 1
            assert "0x" not in error.message, "an address would make rows differ between runs"
        else:
            reasons[""] += 1
        assert time.monotonic() - started < MOST_SEC
    assert sum(reasons.values()) == count and len(reasons) > 1, reasons
    assert all(status_of(reason) for reason in reasons)
