"""Clips made by hand: of other codecs, and that change midway."""

import io
import struct
from fractions import Fraction

import av
import numpy as np


def moving(frames: int = 6, width: int = 48, height: int = 32, seed: int = 0) -> np.ndarray:
    """Blocks that move sideways; uint8 [F, H, W, 3]."""
    base = np.random.default_rng(seed).integers(0, 255, (-(-height // 8), -(-width // 8), 3), dtype=np.uint8)
    base = base.repeat(8, 0).repeat(8, 1)[:height, :width]
    return np.stack([np.roll(base, 4 * number, axis=1) for number in range(frames)])


def clip_by(codec: str, frames: np.ndarray, pix_fmt: str = "yuv420p", **options: str) -> bytes:
    """An MP4 of another encoder."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream(codec, rate=10, options=options)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], pix_fmt
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return buffer.getvalue()


def changing_clip(second: np.ndarray, pix_fmt: str = "yuv420p") -> bytes:
    """Four frames of 48 x 32 pixels in yuv420p, and then others in the same track."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=10, options={"bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        for frame in moving(4):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
        other = av.CodecContext.create("libx264", "w")
        other.height, other.width = second.shape[1:3]
        other.pix_fmt, other.options = pix_fmt, {"bf": "0"}
        other.time_base, other.framerate = Fraction(1, 10), Fraction(10)
        packets = []
        for number, frame in enumerate(second):
            shown = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(format=pix_fmt)
            shown.pts = number
            packets += other.encode(shown)
        for number, packet in enumerate(packets + other.encode()):
            packet.stream, packet.time_base = stream, Fraction(1, 10)
            packet.pts = packet.dts = 4 + number
            container.mux(packet)
    return buffer.getvalue()


def with_brands(media: bytes, major: bytes, *compatible: bytes) -> bytes:
    """An MP4 with other brands in its first box, which keeps its size: positions in the index stay right."""
    (size,) = struct.unpack_from(">I", media)
    room = size - 16
    brands = b"".join(compatible)
    assert len(brands) <= room, f"no room for {len(brands)} bytes of brands"
    return media[:4] + b"ftyp" + major + media[12:16] + brands.ljust(room, b"\0") + media[size:]


def with_cover_first(media: bytes, jpeg: bytes) -> bytes:
    """An MP4 whose index, its last box, starts with cover art: players count that as the first track of pictures."""

    def box(kind: bytes, *inner: bytes) -> bytes:
        content = b"".join(inner)
        return struct.pack(">I4s", 8 + len(content), kind) + content

    cover = box(b"ilst", box(b"covr", box(b"data", struct.pack(">II", 13, 0), jpeg)))
    handler = box(b"hdlr", bytes(8), b"mdirappl", bytes(9))
    extra = box(b"udta", box(b"meta", bytes(4), handler, cover))
    index = media.rindex(b"moov") - 4
    (size,) = struct.unpack_from(">I", media, index)
    assert index + size == len(media), "the index must come last"
    return media[:index] + struct.pack(">I4s", size + len(extra), b"moov") + extra + media[index + 8 :]
