"""Which format a file is of, by its magic bytes, and what pixels need of a JPEG or WebP (`png_chunks`, `gif_blocks`).

JPEG keeps its coding tables and scans, and of its application segments the two that say what its channels mean. WebP
keeps its image data; EXIF is read for the orientation alone, ICCP, XMP and unknown chunks are dropped.
"""

import struct
from collections.abc import Callable
from fractions import Fraction

from pipelines.shared.gif_blocks import read_gif
from pipelines.shared.media import MediaError, is_mp4
from pipelines.shared.parts import Frame, Parts, orientation_of, shown_delay
from pipelines.shared.png_chunks import SIGNATURE, read_png

START_OF_SCAN, END_OF_IMAGE, APP0, APP1, APP14, APP15, COMMENT = 0xDA, 0xD9, 0xE0, 0xE1, 0xEE, 0xEF, 0xFE
WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})
JFIF_BYTES, ADOBE_BYTES = 14, 12
HAS_ALPHA, HAS_ANIMATION = 0x10, 0x02


def sniff(media: bytes) -> str | None:
    """What the magic bytes say: `jpg`, `png`, `webp`, `gif`, `mp4`, or None for anything else."""
    if media.startswith(b"\xff\xd8\xff"):
        return "jpg"
    if media.startswith(SIGNATURE):
        return "png"
    if media[:4] == b"RIFF" and media[8:12] == b"WEBP":
        return "webp"
    if media.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    return "mp4" if is_mp4(media) else None


def read_jpeg(media: bytes) -> Parts:
    """What pixels need of a JPEG; what comes after its first picture, such as a preview or a clip, is not looked at.

    Raises:
        MediaError: A segment is damaged or cut off.
    """
    kept = [media[:2]]
    position, orientation, has_exif = 2, 1, False
    while True:
        marker, position = _next_marker(media, position)
        if marker == END_OF_IMAGE or position + 2 > len(media):
            raise MediaError("truncated", "no image data")
        end = position + int.from_bytes(media[position : position + 2], "big")
        if end < position + 2:
            raise MediaError("decode_error", "a segment shorter than its header")
        if end > len(media):
            raise MediaError("truncated", "a segment ends too early")
        if marker == START_OF_SCAN:
            return Parts(still=b"".join([*kept, b"\xff\xda", media[position:]]), orientation=orientation)
        data = media[position + 2 : end]
        if marker == APP1 and data.startswith(b"Exif\0") and not has_exif:
            orientation, has_exif = orientation_of(data), True
        elif marker == APP0 and data.startswith(b"JFIF\0") and len(data) >= JFIF_BYTES:
            kept.append(_segment(marker, data[: JFIF_BYTES - 2] + b"\0\0"))
        elif marker == APP14 and data.startswith(b"Adobe") and len(data) >= ADOBE_BYTES:
            kept.append(_segment(marker, data[:ADOBE_BYTES]))
        elif not APP0 <= marker <= APP15 and marker != COMMENT:
            kept.append(_segment(marker, data))
        position = end


def _next_marker(media: bytes, position: int) -> tuple[int, int]:
    """The next marker with a length, and where it ends; fill bytes and stray bytes are skipped, as libjpeg does."""
    while True:
        start, position = position, media.find(b"\xff", position)
        if position < 0:
            raise MediaError("truncated" if start == len(media) else "decode_error", "no image data")
        while position < len(media) and media[position] == 0xFF:
            position += 1
        if position == len(media):
            raise MediaError("truncated", "no image data")
        marker = media[position]
        position += 1
        if marker and marker not in WITHOUT_LENGTH:
            return marker, position


def _segment(marker: int, data: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(data) + 2) + data


def read_webp(media: bytes) -> Parts:
    """What pixels need of a WebP (RFC 9649).

    Raises:
        MediaError: It is cut off, or its chunks are damaged.
    """
    end = 8 + int.from_bytes(media[4:8], "little")
    if end > len(media) + (end & 1):
        raise MediaError("truncated", f"{len(media)} of {end} bytes")
    chunks = _riff_chunks(media[12:end])
    orientation = next((orientation_of(data) for kind, data in chunks if kind == b"EXIF"), 1)
    header = next((data for kind, data in chunks if kind == b"VP8X"), b"")
    frames = [data for kind, data in chunks if kind == b"ANMF"]
    if len(header) >= 10 and header[0] & HAS_ANIMATION:
        if not frames:
            raise MediaError("decode_error", "no frames")
        width, height = (1 + int.from_bytes(header[place : place + 3], "little") for place in (4, 7))
        made = tuple(_webp_frame(data, width, height) for data in frames)
        return Parts(still=media, orientation=orientation, width=width, height=height, frames=made)
    return Parts(still=_webp_file(chunks, header[4:10]), orientation=orientation)


def _riff_chunks(body: bytes) -> list[tuple[bytes, bytes]]:
    """Chunks in order. One that no pixel needs may have a wrong length: it and what follows are dropped."""
    chunks, position = [], 0
    while position + 8 <= len(body):
        kind, length = struct.unpack_from("<4sI", body, position)
        data = body[position + 8 : position + 8 + length]
        if len(data) < length:
            if kind in (b"VP8 ", b"VP8L", b"ALPH", b"ANMF", b"VP8X"):
                raise MediaError("truncated", "a chunk ends too early")
            break
        chunks.append((kind, data))
        position += 8 + length + (length & 1)
    return chunks


def _webp_file(chunks: list[tuple[bytes, bytes]], size: bytes) -> bytes:
    """A still WebP of its image and alpha chunks; `size` is the six bytes of the extended header, empty for none."""
    image = next(((kind, data) for kind, data in chunks if kind in (b"VP8 ", b"VP8L")), None)
    if image is None:
        raise MediaError("truncated", "no image data")
    alpha = next((data for kind, data in chunks if kind == b"ALPH"), None)
    parts = [image]
    if size and alpha is not None and image[0] == b"VP8 ":
        parts = [(b"VP8X", bytes((HAS_ALPHA, 0, 0, 0)) + size), (b"ALPH", alpha), image]
    body = b"WEBP" + b"".join(kind + struct.pack("<I", len(data)) + data + bytes(len(data) & 1) for kind, data in parts)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _webp_frame(data: bytes, canvas_width: int, canvas_height: int) -> Frame:
    if len(data) < 16:
        raise MediaError("decode_error", "a frame without its header")
    left, top, width, height, delay_ms = (
        int.from_bytes(data[place : place + 3], "little") for place in (0, 3, 6, 9, 12)
    )
    left, top, width, height = 2 * left, 2 * top, width + 1, height + 1
    if left + width > canvas_width or top + height > canvas_height:
        raise MediaError("decode_error", "a frame outside its canvas")
    return Frame(
        still=_webp_file(_riff_chunks(data[16:]), data[6:12]),
        left=left,
        top=top,
        width=width,
        height=height,
        delay_sec=shown_delay(Fraction(delay_ms, 1000)),
        blends=not data[15] & 2,
        after="clear" if data[15] & 1 else "keep",
    )


PICTURES: dict[str, Callable[[bytes], Parts]] = {
    "jpg": read_jpeg,
    "png": read_png,
    "webp": read_webp,
    "gif": read_gif,
}
