"""PNG and APNG, chunk by chunk: the few that pixels need, each with its checksum; the others are dropped unread.

Format: W3C PNG specification, third edition. An animation's first frame is what browsers show first: where the default
image is no part of the animation it is not shown. An animation of no frames, or whose `acTL` comes after the image
data, is a still picture.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction

from pipelines.shared.media import MediaError
from pipelines.shared.parts import Frame, Parts, orientation_of, shown_delay

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CRITICAL = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND"})
NEEDED = CRITICAL | {b"tRNS", b"acTL", b"fcTL", b"fdAT"}
CHANNELS_WITH_CLEAR = {0: 1, 2: 3}
INDEXED = 3
AFTER = ("keep", "clear", "restore")


@dataclass(slots=True)
class _Control:
    """An `fcTL` and the image data that follows it."""

    fields: tuple[int, ...]
    data: list[bytes] = field(default_factory=list)


def read_png(media: bytes) -> Parts:
    """What pixels need of a PNG.

    Raises:
        MediaError: A chunk that pixels need is missing, damaged or cut off, or an animation has not all its frames.
    """
    found: dict[bytes, bytes] = {}
    image: list[bytes] = []
    controls: list[_Control] = []
    orientation, is_whole, num_frames, sequence = 0, False, 0, 0
    for kind, data in _chunks(media):
        if kind == b"IEND":
            is_whole = True
        elif kind == b"eXIf":
            orientation = orientation or orientation_of(data)
        elif kind == b"IDAT":
            image.append(data)
            if controls:
                controls[0].data.append(data)
        elif kind == b"acTL" and not image and len(data) == 8:
            (num_frames,) = struct.unpack_from(">I", data)
        elif kind in (b"fcTL", b"fdAT") and num_frames:
            _check_sequence(data, sequence)
            sequence += 1
            _take_animated(kind, data, controls)
        elif kind in (b"IHDR", b"PLTE", b"tRNS"):
            found.setdefault(kind, data)
    if b"IHDR" not in found:
        raise MediaError("decode_error", "no header")
    if not image:
        raise MediaError("truncated", "no image data")
    if num_frames and (not is_whole or len(controls) < num_frames):
        raise MediaError("truncated", f"{len(controls)} of {num_frames} frames")
    return _parts(found, image, controls, num_frames, orientation or 1)


def _parts(
    found: dict[bytes, bytes], image: list[bytes], controls: list[_Control], num_frames: int, orientation: int
) -> Parts:
    width, height, bit_depth, colour = struct.unpack_from(">IIBB", found[b"IHDR"])
    palette = [(kind, data) for kind, data in found.items() if kind != b"IHDR"]
    clear: tuple[int, ...] = ()
    if colour != INDEXED:
        palette = []
        count, data = CHANNELS_WITH_CLEAR.get(colour, 0), found.get(b"tRNS", b"")
        if count and len(data) == 2 * count:
            clear = struct.unpack(f">{count}H", data)
    is_other = bool(controls) and controls[0].data != image
    if len(controls) > num_frames or (controls and not is_other and controls[0].fields[:4] != (width, height, 0, 0)):
        raise MediaError("decode_error", "frames that are not those of its headers")
    return Parts(
        still=_file(found[b"IHDR"], palette, image),
        orientation=orientation,
        width=width if controls else 0,
        height=height if controls else 0,
        frames=tuple(_frame(control, found[b"IHDR"], palette) for control in controls),
        clear=clear,
        bit_depth=bit_depth,
        is_other=is_other,
    )


def _chunks(media: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The needed chunks and the last `eXIf` that is whole, to the end or to where the file is cut."""
    position = len(SIGNATURE)
    while position + 12 <= len(media):
        length, kind = struct.unpack_from(">I4s", media, position)
        end = position + 12 + length
        if (position == len(SIGNATURE)) != (kind == b"IHDR") or (kind == b"IHDR" and length != 13):
            raise MediaError("decode_error", "no header in the first place")
        if end > len(media):
            if kind in NEEDED:
                raise MediaError("truncated", "a chunk ends too early")
            return
        if kind in NEEDED or kind == b"eXIf":
            data = media[position + 8 : end - 4]
            is_right = zlib.crc32(data, zlib.crc32(kind)) == int.from_bytes(media[end - 4 : end], "big")
            if not is_right and kind != b"eXIf":
                raise MediaError("decode_error", f"a wrong checksum of {kind.decode()}")
            if is_right:
                yield kind, data
        elif not kind[0] & 0x20:
            raise MediaError("decode_error", "an unknown chunk that pixels need")
        if kind == b"IEND":
            return
        position = end


def _check_sequence(data: bytes, expected: int) -> None:
    if len(data) < 4 or int.from_bytes(data[:4], "big") != expected:
        raise MediaError("decode_error", "frames are not in order")


def _take_animated(kind: bytes, data: bytes, controls: list[_Control]) -> None:
    if kind == b"fcTL":
        if len(data) != 26:
            raise MediaError("decode_error", "a frame without its header")
        controls.append(_Control(struct.unpack(">IIIIHHBB", data[4:])))
    elif controls:
        controls[-1].data.append(data[4:])


def _frame(control: _Control, header: bytes, palette: list[tuple[bytes, bytes]]) -> Frame:
    width, height, left, top, numerator, denominator, dispose, blend = control.fields
    canvas_width, canvas_height = struct.unpack_from(">II", header)
    if left + width > canvas_width or top + height > canvas_height or dispose > 2 or blend > 1:
        raise MediaError("decode_error", "a frame outside its canvas")
    if not control.data:
        raise MediaError("decode_error", "a frame without image data")
    return Frame(
        still=_file(struct.pack(">II", width, height) + header[8:], palette, control.data),
        left=left,
        top=top,
        width=width,
        height=height,
        delay_sec=shown_delay(Fraction(numerator, denominator or 100)),
        blends=blend == 1,
        after=AFTER[dispose],
    )


def _file(header: bytes, palette: list[tuple[bytes, bytes]], image: list[bytes]) -> bytes:
    chunks = [(b"IHDR", header), *palette, (b"IDAT", b"".join(image)), (b"IEND", b"")]
    return SIGNATURE + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))
        for kind, data in chunks
    )
