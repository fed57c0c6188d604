"""Untrusted bytes to pixels and back: pictures by Pillow, clips by PyAV, each from memory and from an allow-list.

What a format is, its magic bytes decide, never a name or a content type. Sizes are read from the header and compared
with the limits before a pixel is allocated. Clips are opened from bytes with `format_whitelist` and an empty
`protocol_whitelist`, because FFmpeg's playlist formats open files and connections.

Pixels are uint8 RGB, defined as follows: first frame of a picture, EXIF orientation applied, transparency composited on
white, 16-bit grey scaled to 8 bits, CMYK converted by Pillow, ICC profiles ignored; of clips the display rotation is
applied and the sample aspect ratio ignored.
"""

import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps

from pipelines.shared.media import MediaError, MediaLimits, check_boxes

if TYPE_CHECKING:
    from av.container import InputContainer

PICTURE_FORMATS = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP", "gif": "GIF"}
MP4_DEMUXER = "mov,mp4,m4a,3gp,3g2,mj2"
CLIP_CODECS = frozenset({"h264", "hevc", "vp8", "vp9", "av1", "mpeg4"})
MP4_BRANDS = frozenset({b"isom", b"mp41", b"mp42", b"avc1", b"M4V ", b"M4VH", b"M4VP", b"dash", b"mmp4", b"MSNV"})
MAX_STREAMS = 8
BROWSER_DELAY_MS = 100
X264_OPTIONS = {"crf": "18", "preset": "medium"}
DEFAULT_QUALITY = 95
ORIENTATION = 0x0112
DEFAULT_LIMITS = MediaLimits()


def sniff(media: bytes) -> str | None:
    """What the magic bytes say: `jpg`, `png`, `webp`, `gif`, `mp4`, or None for anything else."""
    if media.startswith(b"\xff\xd8\xff"):
        return "jpg"
    if media.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if media[:4] == b"RIFF" and media[8:12] == b"WEBP":
        return "webp"
    if media.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    if media[4:8] == b"ftyp" and (media[8:12] in MP4_BRANDS or media[8:11] == b"iso"):
        return "mp4"
    return None


def open_image(media: bytes, limits: MediaLimits = DEFAULT_LIMITS) -> Image.Image:
    """The first frame of a JPEG, PNG, WebP or GIF, wholly decoded.

    Args:
        media: Encoded bytes.
        limits: Checked against the header before decoding.

    Returns:
        A Pillow image of mode RGB; see the module's docstring for orientation, transparency and depth.

    Raises:
        MediaError: The bytes are not such a picture, pass a limit, or are damaged.
    """
    with _opened_picture(media, limits) as picture:
        ImageOps.exif_transpose(picture, in_place=True)
        return _to_rgb(picture)


def image_size(media: bytes, limits: MediaLimits = DEFAULT_LIMITS) -> tuple[int, int]:
    """Width and height of a still picture as shown; all of it is decoded to find damage.

    JPEG is decoded at an eighth of its size, which reads the same data for a third of the time.

    Raises:
        MediaError: As `open_image`.
    """
    with _opened_picture(media, limits) as picture:
        width, height = picture.size
        picture.draft("RGB", (1, 1))
        picture.load()
        turned = picture.getexif().get(ORIENTATION, 1) in (5, 6, 7, 8)
        return (height, width) if turned else (width, height)


def animation_frames(media: bytes, limits: MediaLimits = DEFAULT_LIMITS) -> Iterator[np.ndarray]:
    """The frames of an animated GIF, WebP or PNG one after another.

    Yields:
        uint8 [H, W, 3] arrays.

    Raises:
        MediaError: As `open_image`.
    """
    with _opened_picture(media, limits) as picture:
        for index in range(_num_frames(picture)):
            picture.seek(index)
            yield np.asarray(_to_rgb(picture))


def animation_rate(media: bytes, limits: MediaLimits = DEFAULT_LIMITS) -> tuple[int, float]:
    """Number of frames of a picture and its mean frames per second; (1, 0.0) for a still one.

    Frames are shown as long as browsers show them: a delay under 20 ms counts as 100 ms.

    Raises:
        MediaError: As `open_image`.
    """
    with _opened_picture(media, limits) as picture:
        num_frames = _num_frames(picture)
        if num_frames == 1:
            return 1, 0.0
        total_ms = 0.0
        for index in range(num_frames):
            picture.seek(index)
            picture.load()
            delay_ms = float(picture.info.get("duration") or 0)
            total_ms += delay_ms if delay_ms >= 20 else BROWSER_DELAY_MS
        return num_frames, 1000 * num_frames / total_ms


def clip_frames(
    media: bytes, max_frames: int | None = None, limits: MediaLimits = DEFAULT_LIMITS
) -> tuple[np.ndarray, float]:
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


def clip_size(media: bytes, limits: MediaLimits = DEFAULT_LIMITS) -> tuple[int, int, int, float]:
    """Width, height, number of frames and frames per second of a clip; every frame is decoded to find damage.

    Raises:
        MediaError: As `clip_frames`.
    """
    width = height = count = 0
    with _opened_clip(media, limits) as container:
        rate = _rate(container)
        for frame in _decoded(container, limits):
            turned = frame.rotation % 180 != 0
            width, height = (frame.height, frame.width) if turned else (frame.width, frame.height)
            count += 1
    if not count:
        raise MediaError("decode_error", "a clip without frames")
    return width, height, count, rate


def encode_image(image: Image.Image, extension: str, quality: int = DEFAULT_QUALITY) -> bytes:
    """Encode an RGB image without any metadata; equal pixels give equal bytes with one build of Pillow.

    Args:
        image: Mode RGB.
        extension: `jpg`, `png` or `webp`.
        quality: 1 to 100; PNG is lossless and ignores it.
    """
    assert image.mode == "RGB", f"an image of mode {image.mode} must be converted to RGB first"
    assert extension in ("jpg", "png", "webp"), f"images are not written as {extension}"
    buffer = io.BytesIO()
    settings: dict[str, Any] = {} if extension == "png" else {"quality": quality}
    Image.frombytes("RGB", image.size, image.tobytes()).save(buffer, PICTURE_FORMATS[extension], **settings)
    return buffer.getvalue()


def encode_clip(frames: Iterable[np.ndarray], frames_per_sec: float) -> bytes:
    """Encode frames as an H.264 MP4 by one thread; equal frames give equal bytes with one build of PyAV.

    yuv420p has even sides only: an odd side is padded by repeating its last row or column.

    Args:
        frames: uint8 [H, W, 3] arrays of one size, or one uint8 [F, H, W, 3] array.
        frames_per_sec: Constant rate; kept to a thousandth.
    """
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream(
            "libx264", rate=Fraction(round(frames_per_sec * 1000), 1000), options=X264_OPTIONS
        )
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        for index, frame in enumerate(frames):
            assert frame.dtype == np.uint8 and frame.ndim == 3, f"a frame must be uint8 [H, W, 3], got {frame.shape}"
            height, width = frame.shape[:2]
            even = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
            if index == 0:
                stream.height, stream.width = even.shape[:2]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(even, format="rgb24")))
        container.mux(stream.encode())
    return buffer.getvalue()


def evenly_spaced(count: int, most: int | None) -> tuple[int, ...]:
    """At most `most` of the numbers below `count`, evenly spaced, the first and the last among them."""
    if most is None or most >= count:
        return tuple(range(count))
    if most == 1:
        return (0,)
    return tuple(index * (count - 1) // (most - 1) for index in range(most))


@contextmanager
def _opened_picture(media: bytes, limits: MediaLimits) -> Iterator[Image.Image]:
    """A picture whose header is within the limits; whatever Pillow raises becomes a MediaError."""
    extension = sniff(media)
    if extension not in PICTURE_FORMATS:
        raise MediaError("type_refused", "not a JPEG, PNG, WebP or GIF")
    with _as_media_error(), Image.open(io.BytesIO(media), formats=[PICTURE_FORMATS[extension]]) as picture:
        limits.check(picture.width, picture.height, _num_frames(picture))
        yield picture


def _num_frames(picture: Image.Image) -> int:
    return int(getattr(picture, "n_frames", 1)) if picture.format != "MPO" else 1


def _to_rgb(picture: Image.Image) -> Image.Image:
    picture.load()
    if picture.mode.startswith("I"):
        grey = np.asarray(picture).astype(np.uint32)
        return Image.fromarray(((grey * 255 + 32767) // 65535).astype(np.uint8)).convert("RGB")
    if picture.has_transparency_data:
        layered = picture.convert("RGBA")
        flat = Image.new("RGB", layered.size, "white")
        flat.paste(layered, mask=layered.getchannel("A"))
        return flat
    return picture.convert("RGB")


@contextmanager
def _opened_clip(media: bytes, limits: MediaLimits) -> Iterator["InputContainer"]:
    """A clip whose container, codec and size are allowed; whatever PyAV raises becomes a MediaError."""
    import av

    if sniff(media) != "mp4":
        raise MediaError("type_refused", "not an MP4")
    check_boxes(media)
    options = {"format_whitelist": MP4_DEMUXER, "protocol_whitelist": ""}
    with _as_media_error(), av.open(io.BytesIO(media), "r", options=options) as container:
        if len(container.streams) > MAX_STREAMS or len(container.streams.video) < 1:
            raise MediaError("type_refused", f"{len(container.streams)} streams")
        stream = container.streams.video[0]
        if stream.codec_context.name not in CLIP_CODECS:
            raise MediaError("type_refused", "a codec that is not allowed")
        limits.check(stream.width, stream.height)
        stream.codec_context.thread_count = 1
        yield container


def _count_packets(container: "InputContainer", limits: MediaLimits) -> int:
    count = sum(bool(packet.size) and not packet.is_discard for packet in container.demux(video=0))
    limits.check(container.streams.video[0].width, container.streams.video[0].height, count)
    return count


def _decoded(container: "InputContainer", limits: MediaLimits) -> Iterator[Any]:
    for index, frame in enumerate(container.decode(video=0)):
        limits.check(frame.width, frame.height, index + 1)
        if frame.is_corrupt:
            raise MediaError("decode_error", f"frame {index} is corrupt")
        yield frame


def _picked(media: bytes, wanted: tuple[int, ...], limits: MediaLimits) -> tuple[list[np.ndarray], int, float]:
    """The frames at the wanted positions, the number of all frames, and the rate."""
    frames: list[np.ndarray] = []
    chosen, count = frozenset(wanted), 0
    with _opened_clip(media, limits) as container:
        for count, frame in enumerate(_decoded(container, limits), start=1):
            if count - 1 in chosen:
                frames.append(np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90))
        return frames, count, _rate(container)


def _rate(container: "InputContainer") -> float:
    stream = container.streams.video[0]
    rate = float(stream.average_rate or stream.guessed_rate or 0)
    if not 0 < rate <= 1000:
        raise MediaError("decode_error", "a clip without a frame rate")
    return rate


@contextmanager
def _as_media_error() -> Iterator[None]:
    """Decoders raise far more than they document on damaged bytes; their messages hold addresses, so types are kept."""
    try:
        yield
    except MediaError:
        raise
    except Image.DecompressionBombError as error:
        raise MediaError("too_many_pixels", "more pixels than Pillow opens") from error
    except Exception as error:
        if isinstance(error, OSError) and str(error).startswith("image file is truncated"):
            raise MediaError("truncated", "the picture ends too early") from error
        raise MediaError("decode_error", type(error).__name__) from error
