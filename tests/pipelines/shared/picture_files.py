"""Picture files made by hand, chunk by chunk and block by block, for what no library writes."""

import io
import struct
import zlib
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from PIL import Image

from pipelines.shared.media import MediaError
from pipelines.shared.pictures import animation_frames, open_image

PNG = b"\x89PNG\r\n\x1a\n"
GREY, COLOURS, INDEXED = 0, 2, 3
PALETTE = b"\x00\x00\xff\xff\x00\x00\x00\xff\x00\xff\xff\xff"
BLUE, RED, LIME, WHITE = range(4)
RED_RGB, LIME_RGB, BLUE_RGB, WHITE_RGB = [255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]


def pixels(media: bytes) -> np.ndarray:
    """As the later stages see it: uint8 [H, W, 3]."""
    return np.asarray(open_image(media))


def reason(media: bytes, read: Callable[[bytes], object] = open_image) -> str:
    """The reason code with which it is refused."""
    with pytest.raises(MediaError) as caught:
        read(media)
    return caught.value.reason


def colours_at(media: bytes, *places: tuple[int, int]) -> list[list[list[int]]]:
    """Of each frame the colours at some rows and columns."""
    return [[frame[place].tolist() for place in places] for frame in animation_frames(media)]


def encoded(image: Image.Image, kind: str, **settings: object) -> bytes:
    """The image's file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **settings)
    return buffer.getvalue()


def smooth(width: int = 33, height: int = 20, seed: int = 0) -> Image.Image:
    """Smooth, so that lossy formats stay near, and different in every corner."""
    y, x = np.mgrid[0:height, 0:width]
    pixels = np.stack([x * 200 / width, y * 200 / height, 60 + 80 * np.sin((x + y + 9 * seed) / 8)], -1)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def chunk(kind: bytes, data: bytes = b"", crc: int | None = None) -> bytes:
    """A PNG chunk, with a right checksum or the given one."""
    return (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data) if crc is None else crc)
    )


def png(values: np.ndarray, depth: int, colour: int, *extra: bytes) -> bytes:
    """A PNG of values [H, W] or [H, W, 3] with chunks before its data."""
    height, width = values.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return PNG + chunk(b"IHDR", header) + b"".join(extra) + chunk(b"IDAT", packed(values, depth)) + chunk(b"IEND")


def packed(values: np.ndarray, depth: int) -> bytes:
    """Compressed rows without filters."""
    rows = values.reshape(len(values), -1)
    if depth == 16:
        lines = [row.astype(">u2").tobytes() for row in rows]
    else:
        bits = (rows[..., None] >> np.arange(depth - 1, -1, -1) & 1).astype(np.uint8)
        lines = [np.packbits(row.reshape(-1)).tobytes() for row in bits]
    return zlib.compress(b"".join(b"\0" + line for line in lines))


def with_chunk(media: bytes, *new: bytes) -> bytes:
    """A PNG with chunks after its header."""
    return media[:33] + b"".join(new) + media[33:]


def with_segment(media: bytes, marker: int, data: bytes) -> bytes:
    """A JPEG with a segment in the first place."""
    return media[:2] + bytes((0xFF, marker)) + struct.pack(">H", len(data) + 2) + data + media[2:]


def with_riff_chunk(media: bytes, kind: bytes, data: bytes, length: int | None = None) -> bytes:
    """A simple WebP with a chunk at its end, of a right length or the given one, and the header that goes with it."""
    width, height = Image.open(io.BytesIO(media)).size
    flags = {b"ICCP": 0x20, b"EXIF": 0x08, b"XMP ": 0x04}.get(kind, 0)
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBPVP8X\x0a\0\0\0" + bytes((flags, 0, 0, 0)) + size + media[12:]
    body += kind + struct.pack("<I", len(data) if length is None else length) + data + bytes(len(data) & 1)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def exif(*entries: tuple[int, int, int, bytes], order: str = "<") -> bytes:
    """A TIFF header and one directory; entries are tag, type, count and four bytes."""
    rows = b"".join(struct.pack(f"{order}HHI", *entry[:3]) + entry[3] for entry in entries)
    mark = b"II*\0\x08\0\0\0" if order == "<" else b"MM\0*\0\0\0\x08"
    return mark + struct.pack(f"{order}H", len(entries)) + rows + bytes(4)


def turned(orientation: int, order: str = "<") -> tuple[int, int, int, bytes]:
    """The entry of an orientation."""
    return 0x0112, 3, 1, struct.pack(f"{order}HH", orientation, 0)


Place = tuple[int, int, int, int]


def gif(size: tuple[int, int], *frames: tuple[Place, int, int, int, int | None], end: bytes = b";") -> bytes:
    """A GIF of plain frames: place (x, y, width, height), colour, delay in 1/100 s, disposal, transparent colour."""
    out = b"GIF89a" + struct.pack("<HHBBB", *size, 0x81, 0, 0) + PALETTE
    for (x, y, width, height), colour, delay, disposal, clear in frames:
        out += b"\x21\xf9\x04" + struct.pack("<BHBB", disposal << 2 | (clear is not None), delay, clear or 0, 0)
        out += b"\x2c" + struct.pack("<HHHHB", x, y, width, height, 0) + b"\x02" + lzw([colour] * (width * height))
    return out + end


def lzw(indices: Sequence[int]) -> bytes:
    """Sub-blocks of two-bit indices, each after a code that clears the table."""
    codes = [code for index in indices for code in (4, index)] + [5]
    bits = np.array([code >> place & 1 for code in codes for place in range(3)], np.uint8)
    data = np.packbits(bits, bitorder="little").tobytes()
    blocks = [data[start : start + 255] for start in range(0, len(data), 255)]
    return b"".join(bytes([len(block)]) + block for block in blocks) + b"\0"


def control(number: int, place: Place, delay: tuple[int, int] = (1, 10), dispose: int = 0, blend: int = 0) -> bytes:
    """An APNG's `fcTL`."""
    x, y, width, height = place
    return chunk(b"fcTL", struct.pack(">IIIIIHHBB", number, width, height, x, y, *delay, dispose, blend))


def solid(width: int, height: int, colour: Sequence[int]) -> bytes:
    """Compressed image data of one RGBA colour."""
    return packed(np.broadcast_to(np.array(colour, np.uint8), (height, width, 4)), 8)


def apng(width: int, height: int, num_frames: int, *chunks: bytes, end: bytes = chunk(b"IEND")) -> bytes:
    """An RGBA APNG of the given chunks."""
    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    return PNG + chunk(b"IHDR", header) + chunk(b"acTL", struct.pack(">II", num_frames, 0)) + b"".join(chunks) + end


def frame_data(number: int, data: bytes) -> bytes:
    """An APNG's `fdAT`."""
    return chunk(b"fdAT", struct.pack(">I", number) + data)
