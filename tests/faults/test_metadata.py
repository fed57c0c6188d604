"""What a picture or clip carries beside its pixels: the crawl's shards hold files as they came, no pack has it."""

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from pipelines.shared.decode import encode_clip, sniff
from pipelines.shared.examine import examine
from pipelines.shared.media import MediaLimits
from pipelines.shared.packing import PackEntry, packed
from pipelines.shared.records import Caption, Sample, sample_key
from tests.faults.boxes import box, changed

SECRET = b"Jane Roe, 51.5007 N"
TEXT = SECRET.decode()


def picture() -> Image.Image:
    return Image.new("RGB", (64, 48), (90, 120, 150))


def saved(kind: str, **settings: object) -> bytes:
    buffer = io.BytesIO()
    picture().save(buffer, kind, **settings)
    return buffer.getvalue()


def exif() -> Image.Exif:
    """A description, an artist and a place."""
    tags = Image.Exif()
    tags[0x010E] = tags[0x013B] = TEXT
    tags.get_ifd(0x8825).update({1: "N", 2: (51.0, 30.0, 2.52), 29: TEXT})
    return tags


def profile() -> bytes:
    """An ICC profile that names somebody; nobody reads it."""
    return struct.pack(">I", 128 + len(SECRET)) + bytes(32) + b"acsp" + bytes(88) + SECRET


def xmp() -> bytes:
    return b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><dc:creator>' + SECRET + b"</dc:creator></x:xmpmeta>"


def behind(media: bytes) -> bytes:
    """Bytes behind the end of the picture."""
    return media + SECRET


def png_text() -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", TEXT)
    info.add_itxt("XML:com.adobe.xmp", xmp().decode())
    info.add(b"prVt", SECRET)
    return info


def compressed_text() -> bytes:
    media = saved("PNG")
    content = b"zTXt" + b"Comment\0\0" + zlib.compress(SECRET)
    chunk = struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))
    return media[:33] + chunk + media[33:]


def clip(**notes: bytes) -> bytes:
    media = encode_clip(np.zeros((4, 48, 64, 3), np.uint8), 4.0)
    places = box(b"udta", box(b"\xa9xyz", struct.pack(">HH", len(SECRET), 0) + SECRET))
    return changed(media, b"moov", lambda content: content + places)


CARRIERS: dict[str, Callable[[], bytes]] = {
    "exif of jpeg": lambda: saved("JPEG", exif=exif()),
    "exif of png": lambda: saved("PNG", exif=exif()),
    "exif of webp": lambda: saved("WEBP", exif=exif()),
    "profile of jpeg": lambda: saved("JPEG", icc_profile=profile()),
    "profile of webp": lambda: saved("WEBP", icc_profile=profile()),
    "xmp of jpeg": lambda: saved("JPEG", xmp=xmp()),
    "xmp of webp": lambda: saved("WEBP", xmp=xmp()),
    "comment of jpeg": lambda: saved("JPEG", comment=SECRET),
    "text of png": lambda: saved("PNG", pnginfo=png_text()),
    "bytes behind a jpeg": lambda: behind(saved("JPEG")),
    "bytes behind a png": lambda: behind(saved("PNG")),
    "place of a clip": clip,
    "a box of a clip": lambda: clip() + box(b"free", SECRET),
}
HIDDEN = {"profile of png": lambda: saved("PNG", icc_profile=profile()), "compressed text of png": compressed_text}


def as_packed(media: bytes, extension: str) -> bytes:
    sample = Sample(
        key=sample_key("web", "x"),
        extension=sniff(media) or "",
        media=media,
        captions=(Caption(text="a text", origin="web"),),
        facts={"url": "http://a.com/x", "num_frames": 4, "width": 64, "height": 48},
    )
    kind = "video" if sample.extension == "mp4" else "image"
    return packed(sample, (0,), PackEntry(filter="base", size_px=32, media=kind, extension=extension)).media


@pytest.mark.parametrize("extension", ["jpg", "png", "webp"])
@pytest.mark.parametrize("name", [*CARRIERS, *HIDDEN])
def test_no_pack_holds_it(name: str, extension: str) -> None:
    media = {**CARRIERS, **HIDDEN}[name]()
    assert name in HIDDEN or SECRET in media, "it was there"
    found = as_packed(media, extension)
    assert SECRET not in found and b"xmpmeta" not in found and b"acsp" not in found and b"Exif" not in found
    if sniff(found) != "mp4":
        with Image.open(io.BytesIO(found)) as image:
            image.load()
            assert not image.getexif()
            assert not set(image.info) & {"exif", "icc_profile", "xmp", "comment", "Comment", "XML:com.adobe.xmp"}


@pytest.mark.parametrize("name", sorted(CARRIERS))
def test_the_crawl_keeps_files_as_they_came(name: str) -> None:
    """So a crawl's own shards are as private as what was fetched; packs are what is published."""
    assert examine(CARRIERS[name](), MediaLimits()).converted is None


@pytest.mark.parametrize("count", [1, 3])
def test_a_gif_loses_its_comment_on_the_way_in(count: int) -> None:
    frames = [Image.new("RGB", (64, 48), (index * 60, 90, 120)) for index in range(count)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", comment=SECRET, save_all=True, append_images=frames[1:], duration=100)
    media = behind(buffer.getvalue())
    converted = examine(media, MediaLimits()).converted
    assert SECRET in media and converted is not None and SECRET not in converted
