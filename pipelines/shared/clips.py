"""Clips by PyAV; see `decode` for what pixels mean.

Clips are opened from bytes with `format_whitelist` and an empty `protocol_whitelist`, because FFmpeg's playlist formats
open files and connections.

No byte depends on the processor: x264 is told to be independent of it (its AVX-512 code gives other bytes, for narrow
frames from call to call), and FFmpeg converts colours exactly in both directions (its default differs between
instruction sets). The decoders on the list are exact by their standards.
"""

import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.shared.containers import sniff
from pipelines.shared.media import MAX_STREAMS, MediaError, MediaLimits, as_media_error, check_boxes

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer
    from av.video.stream import VideoStream

MP4_DEMUXER = "mov,mp4,m4a,3gp,3g2,mj2"
CLIP_CODECS = frozenset({"h264", "hevc", "vp8", "vp9", "av1", "mpeg4"})
X264_OPTIONS = {"crf": "18", "preset": "medium", "x264-params": "cpu-independent=1"}
MAX_RATE = 1000
MAX_RATE_DENOMINATOR = 100_000
MOST = MediaLimits(max_aspect=16_383, max_duration_sec=3600)


def clip_frames(media: bytes, max_frames: int | None = None, limits: MediaLimits = MOST) -> tuple[np.ndarray, float]:
    """Frames of an MP4 clip.

    Args:
        media: Encoded bytes.
        max_frames: At most so many frames, evenly spaced over the clip from the first to the last; all when None.
        limits: As for `open_image`.

    Returns:
        uint8 [F, H, W, 3] and the frames per second of the whole clip (not of the picked frames).

    Raises:
        MediaError: The bytes are not such a clip, pass a limit, or are damaged.
    """
    with _opened_clip(media, limits) as container:
        expected = _count_packets(container, limits)
    frames, decoded, rate = _picked(media, evenly_spaced(expected, max_frames), limits)
    if decoded != expected:
        frames, decoded, rate = _picked(media, evenly_spaced(decoded, max_frames), limits)
    if not frames:
        raise MediaError("decode_error", "a clip without frames")
    return np.stack(frames), rate


def clip_size(media: bytes, limits: MediaLimits = MOST) -> tuple[int, int, int, float]:
    """Width, height, number of frames and frames per second of a clip; every frame is decoded to find damage.

    Raises:
        MediaError: As `clip_frames`.
    """
    width = height = count = 0
    with _opened_clip(media, limits) as container:
        rate = _rate(container)
        for frame in _decoded(container, limits):
            if not count:
                height, width = _pixels(frame).shape[:2]
            count += 1
    if not count:
        raise MediaError("decode_error", "a clip without frames")
    return width, height, count, rate


def encode_clip(frames: Iterable[np.ndarray], frames_per_sec: float | Fraction) -> bytes:
    """Encode frames as an H.264 MP4 by one thread; equal frames give equal bytes with one build of PyAV.

    yuv420p has even sides only: an odd side is padded by repeating its last row or column.

    Args:
        frames: uint8 [H, W, 3] arrays of one size, or one uint8 [F, H, W, 3] array.
        frames_per_sec: Constant rate above 0 and at most 1000; kept as a fraction with a denominator of at most
            100,000, so that a clip lasts as long as it should within a thousandth of a second for each minute.
    """
    import av

    rate = Fraction(frames_per_sec).limit_denominator(MAX_RATE_DENOMINATOR)
    assert 0 < rate <= MAX_RATE, f"a clip of {frames_per_sec} frames per second"
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libx264", rate=rate, options=X264_OPTIONS)
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        for index, frame in enumerate(frames):
            assert frame.dtype == np.uint8 and frame.ndim == 3, f"a frame must be uint8 [H, W, 3], got {frame.shape}"
            height, width = frame.shape[:2]
            even = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
            if index == 0:
                stream.height, stream.width = even.shape[:2]
            wrapped = av.VideoFrame.from_ndarray(even, format="rgb24")
            container.mux(stream.encode(wrapped.reformat(format="yuv420p", interpolation=_exactly())))
        container.mux(stream.encode())
    return buffer.getvalue()


def evenly_spaced(count: int, most: int | None) -> tuple[int, ...]:
    """At most `most` of the numbers below `count`, evenly spaced, the first and the last among them."""
    if most is None or most >= count:
        return tuple(range(count))
    if most == 1:
        return (0,)
    return tuple(index * (count - 1) // (most - 1) for index in range(most))


def sixteen_bit_colours(png: bytes) -> np.ndarray:
    """Colours of a PNG of 16 bits a channel without alpha, which Pillow cuts to 8; uint16 [H, W, 3]."""
    import av

    decoder = av.CodecContext.create("png", "r")
    (frame,) = [*decoder.decode(av.Packet(png)), *decoder.decode(None)]
    assert frame.format.name == "rgb48be", f"not 16-bit colours but {frame.format.name}"
    return frame.to_ndarray()


@contextmanager
def _opened_clip(media: bytes, limits: MediaLimits) -> Iterator["InputContainer"]:
    """A clip whose container, codec, size and length are allowed; whatever PyAV raises becomes a MediaError."""
    import av

    if sniff(media) != "mp4":
        raise MediaError("type_refused", "not an MP4")
    check_boxes(media)
    options = {"format_whitelist": MP4_DEMUXER, "protocol_whitelist": ""}
    with as_media_error(), av.open(io.BytesIO(media), "r", options=options) as container:
        if len(container.streams) > MAX_STREAMS:
            raise MediaError("type_refused", f"{len(container.streams)} streams")
        stream = _video(container)
        if stream.codec_context.codec.canonical_name not in CLIP_CODECS:
            raise MediaError("type_refused", "a codec that is not allowed")
        limits.check(stream.width, stream.height)
        if stream.duration and stream.time_base:
            limits.check_duration(float(stream.duration * stream.time_base))
        stream.codec_context.thread_count = 1
        yield container


def _video(container: "InputContainer") -> "VideoStream":
    """The first track of pictures that move; cover art may stand before it."""
    from av.stream import Disposition

    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            return stream
    raise MediaError("type_refused", "no track of pictures that move")


def _count_packets(container: "InputContainer", limits: MediaLimits) -> int:
    count = sum(bool(packet.size) and not packet.is_discard for packet in container.demux(_video(container)))
    limits.check(_video(container).width, _video(container).height, count)
    return count


def _decoded(container: "InputContainer", limits: MediaLimits) -> Iterator["VideoFrame"]:
    rate = _rate(container)
    first: Any = None
    for index, frame in enumerate(container.decode(_video(container))):
        limits.check(frame.width, frame.height, index + 1)
        limits.check_duration((index + 1) / rate)
        if frame.is_corrupt:
            raise MediaError("decode_error", f"frame {index} is corrupt")
        shape = frame.width, frame.height, frame.rotation, frame.format.name
        first = first or shape
        if shape != first:
            raise MediaError("clip_changes", f"from frame {index} on")
        yield frame


def _picked(media: bytes, wanted: tuple[int, ...], limits: MediaLimits) -> tuple[list[np.ndarray], int, float]:
    """The frames at the wanted positions, the number of all frames, and the rate."""
    frames: list[np.ndarray] = []
    chosen, count = frozenset(wanted), 0
    with _opened_clip(media, limits) as container:
        for count, frame in enumerate(_decoded(container, limits), start=1):
            if count - 1 in chosen:
                frames.append(_pixels(frame))
        return frames, count, _rate(container)


def _pixels(frame: "VideoFrame") -> np.ndarray:
    """A frame as shown; uint8 [H, W, 3]."""
    return np.rot90(frame.to_ndarray(format="rgb24", interpolation=_exactly()), frame.rotation // 90)


def _exactly() -> int:
    """How colours are converted: alike on each processor. Without full chroma, greys come back 1.7 levels too dark."""
    from av.video.reformatter import Interpolation as Way

    return Way.BILINEAR | Way.ACCURATE_RND | Way.BITEXACT | Way.FULL_CHR_H_INT | Way.FULL_CHR_H_INP


def _rate(container: "InputContainer") -> float:
    stream = _video(container)
    rate = float(stream.average_rate or stream.guessed_rate or 0)
    if not 0 < rate <= MAX_RATE:
        raise MediaError("decode_error", "a clip without a frame rate")
    return rate
