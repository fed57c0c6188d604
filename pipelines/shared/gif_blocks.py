"""GIF, block by block: frames and how they are shown; comments and other programs' extensions are dropped unread.

Format: GIF89a. Where the specification is silent or nobody follows it, browsers decide: the canvas is transparent where
no frame covers it (the background colour is ignored), a frame's part outside the canvas is cut off, an index beyond the
palette paints nothing, and disposal 4 is read as 3.
"""

import struct
from fractions import Fraction

import numpy as np

from pipelines.shared.media import MediaError
from pipelines.shared.parts import Frame, Parts, shown_delay

HEADER_BYTES = 13
EXTENSION, IMAGE, TRAILER = 0x21, 0x2C, 0x3B
GRAPHIC_CONTROL = 0xF9
HAS_PALETTE = 0x80
NO_CONTROL = (0, 0, 0)


def read_gif(media: bytes) -> Parts:
    """What pixels need of a GIF.

    Raises:
        MediaError: A block is damaged or cut off, or the end mark is missing: frames after it would be missing too.
    """
    if len(media) < HEADER_BYTES:
        raise MediaError("truncated", "the header ends too early")
    width, height, flags = struct.unpack_from("<HHB", media, 6)
    common, position = _palette(media, HEADER_BYTES, flags)
    frames: list[Frame] = []
    control = NO_CONTROL
    while position < len(media) and media[position] != TRAILER:
        block = media[position]
        if block == EXTENSION and position + 2 <= len(media):
            end = _after_blocks(media, position + 2)
            if media[position + 1] == GRAPHIC_CONTROL and media[position + 2] >= 4:
                control = struct.unpack_from("<BHB", media, position + 3)
        elif block == IMAGE:
            frame, end = _frame(media, position, common, control)
            frames.append(frame)
            control = NO_CONTROL
        elif block == 0:
            end = position + 1
        else:
            raise MediaError("decode_error", "a block of no known kind")
        position = end
    if position >= len(media):
        raise MediaError("truncated", f"no end mark after {len(frames)} frames")
    if not frames:
        raise MediaError("decode_error", "no frames")
    return Parts(still=media, width=width, height=height, frames=tuple(frames))


def _palette(media: bytes, position: int, flags: int) -> tuple[bytes, int]:
    """RGB bytes of a palette, empty for none, and where it ends."""
    end = position + (3 * 2 ** ((flags & 7) + 1) if flags & HAS_PALETTE else 0)
    if end > len(media):
        raise MediaError("truncated", "a palette ends too early")
    return media[position:end], end


def _after_blocks(media: bytes, position: int) -> int:
    """Where a chain of sub-blocks that starts here ends."""
    while position < len(media) and media[position]:
        position += 1 + media[position]
    if position >= len(media):
        raise MediaError("truncated", "a block ends too early")
    return position + 1


def _frame(media: bytes, position: int, common: bytes, control: tuple[int, int, int]) -> tuple[Frame, int]:
    if position + 10 > len(media):
        raise MediaError("truncated", "a frame's header ends too early")
    left, top, width, height, flags = struct.unpack_from("<HHHHB", media, position + 1)
    own, data = _palette(media, position + 10, flags)
    end = _after_blocks(media, data + 1)
    marks, delay, clear = control
    disposal = marks >> 2 & 7
    after = {2: "clear", 3: "restore", 4: "restore"}.get(disposal, "keep")
    place = struct.pack("<HHHHB", 0, 0, width, height, flags)
    still = b"GIF89a" + struct.pack("<HHBBB", width, height, 0, 0, 0) + b"\x2c" + place + media[position + 10 : end]
    return Frame(
        still=still + b"\x3b",
        left=left,
        top=top,
        width=width,
        height=height,
        delay_sec=shown_delay(Fraction(delay, 100)),
        blends=True,
        after=after,
        colours=_colours(own or common, clear if marks & 1 else None),
    ), end


def _colours(palette: bytes, clear: int | None) -> bytes:
    """RGBA of all 256 indices; a file without a palette has greys."""
    colours = np.zeros((256, 4), np.uint8)
    known = np.frombuffer(palette, np.uint8).reshape(-1, 3) if palette else np.arange(256).repeat(3).reshape(-1, 3)
    colours[: len(known), :3] = known
    colours[: len(known), 3] = 255
    if clear is not None:
        colours[clear] = 0
    return colours.tobytes()
