"""The parts of a picture's file that pixels need: what is left when its metadata is dropped.

Decoders read far more of a file than its pixels: text, profiles, previews. They raise on what is broken there, and take
memory for what is long. None of it changes a pixel, but for the Exif orientation, which is read here.
"""

import struct
from dataclasses import dataclass
from fractions import Fraction

BROWSER_DELAY = Fraction(1, 10)
SHORTEST_DELAY = Fraction(10, 1000)
ORIENTATION = 0x0112
INTEGERS = {1: "B", 3: "H", 4: "I"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """A frame of an animation: a picture of its own, and how it is laid on the canvas.

    Attributes:
        still: Bytes of a picture of one frame, of the animation's format.
        left: Pixels from the canvas's left side.
        top: Pixels from its upper side.
        width: Pixels.
        height: Pixels.
        delay_sec: How long it is shown, as browsers show it.
        blends: Whether what is transparent in it lets the canvas be seen; else it replaces the canvas.
        after: What becomes of its place before the next frame: `keep`, `clear`, or `restore` what was there.
        colours: RGBA bytes of each index of a GIF's frame; empty for other formats.
    """

    still: bytes
    left: int
    top: int
    width: int
    height: int
    delay_sec: Fraction
    blends: bool
    after: str
    colours: bytes = b""


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """What is read of a picture's file.

    Attributes:
        still: The file without what no pixel needs; of an animation it is not decoded.
        orientation: Exif's, from 1 to 8.
        width: Pixels of an animation's canvas; 0 for a still picture, whose decoder tells them.
        height: As width.
        frames: Of an animation; none for a still picture.
        clear: The colour that is transparent in a PNG without alpha: one or three values of its bit depth.
        bit_depth: Of a PNG's values.
        is_other: Whether a reader that knows no animations shows another picture than the first frame.
    """

    still: bytes
    orientation: int = 1
    width: int = 0
    height: int = 0
    frames: tuple[Frame, ...] = ()
    clear: tuple[int, ...] = ()
    bit_depth: int = 8
    is_other: bool = False


def shown_delay(delay_sec: Fraction) -> Fraction:
    """How long browsers show a frame: a delay of 10 ms or less counts as 100 ms."""
    return delay_sec if delay_sec > SHORTEST_DELAY else BROWSER_DELAY


def orientation_of(exif: bytes) -> int:
    """The orientation in Exif bytes, 1 (as stored) where they hold none or are broken; nothing else of them is read.

    Args:
        exif: A TIFF header and what follows it; `Exif` and two zero bytes may go before.
    """
    tiff = exif.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None or len(tiff) < 8:
        return 1
    (start,) = struct.unpack_from(f"{order}I", tiff, 4)
    if start + 2 > len(tiff):
        return 1
    (count,) = struct.unpack_from(f"{order}H", tiff, start)
    for place in range(start + 2, min(start + 2 + 12 * count, len(tiff) - 11), 12):
        tag, kind, values = struct.unpack_from(f"{order}HHI", tiff, place)
        if tag == ORIENTATION and kind in INTEGERS and values == 1:
            (value,) = struct.unpack_from(f"{order}{INTEGERS[kind]}", tiff, place + 8)
            return value if 1 <= value <= 8 else 1
    return 1
