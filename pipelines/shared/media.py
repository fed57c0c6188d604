"""What is refused of a picture or clip before it is decoded, and why; see `decode` for the decoding.

An MP4 is told by its brands, major or compatible, and looked through box by box: FFmpeg plays a cut file without a
word, and probes every track before anybody can count them.
"""

import itertools
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pipelines.shared.reasons import LinkError

MP4_BRANDS = frozenset({b"mp41", b"mp42", b"avc1", b"av01", b"M4V ", b"M4VH", b"M4VP", b"dash", b"mmp4", b"MSNV"})
PICTURE_BRANDS = frozenset(
    {
        b"avif",
        b"avis",
        b"heic",
        b"heix",
        b"heim",
        b"heis",
        b"hevc",
        b"hevx",
        b"hevm",
        b"hevs",
        b"mif1",
        b"mif2",
        b"msf1",
    }
)
MAX_BRANDS_BYTES = 64
MAX_STREAMS = 8
CONTAINING = frozenset({b"mdia", b"minf", b"stbl"})
TOP_LEVEL = frozenset(
    {
        b"ftyp",
        b"moov",
        b"mdat",
        b"free",
        b"skip",
        b"wide",
        b"moof",
        b"mfra",
        b"styp",
        b"sidx",
        b"uuid",
        b"meta",
        b"udta",
    }
)


class MediaError(LinkError):
    """Bytes that are not a picture or clip that we take; see `reasons` for the codes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MediaLimits:
    """What is refused before it is decoded; the defaults are also the most that may be set unless another is named.

    Attributes:
        max_pixels: Pixels of a picture or of one frame.
        max_side_px: Longer side.
        max_aspect: Longer side over shorter side, up to 16,383.
        max_frames: Frames of a clip or an animated picture.
        max_clip_pixels: Pixels of all frames of a clip together.
        max_animation_pixels: Pixels of all frames of an animated GIF, WebP or PNG together, at least the canvas for
            each; up to 4,000,000,000. Every frame is painted and encoded anew, however little of it the file holds.
        max_duration_sec: Of a clip or an animation as it is shown, up to 3,600.
    """

    max_pixels: int = 50_000_000
    max_side_px: int = 16_383
    max_aspect: float = 20.0
    max_frames: int = 18_000
    max_clip_pixels: int = 4_000_000_000
    max_animation_pixels: int = 200_000_000
    max_duration_sec: float = 600.0

    def __post_init__(self) -> None:
        for name, ceiling in (
            ("max_pixels", 50_000_000),
            ("max_side_px", 16_383),
            ("max_aspect", 16_383),
            ("max_frames", 18_000),
            ("max_clip_pixels", 4_000_000_000),
            ("max_animation_pixels", 4_000_000_000),
        ):
            if not 1 <= getattr(self, name) <= ceiling:
                raise ValueError(f"{name} must be from 1 to {ceiling}, got {getattr(self, name)}")
        if not 0 < self.max_duration_sec <= 3600:
            raise ValueError(f"max_duration_sec must be above 0 and at most 3600, got {self.max_duration_sec}")

    def check(self, width: int, height: int, num_frames: int = 1) -> None:
        """Raise MediaError if a header's sizes pass a limit."""
        if width < 1 or height < 1:
            raise MediaError("decode_error", f"{width} x {height} pixels")
        if num_frames > self.max_frames:
            raise MediaError("too_many_frames", f"more than {self.max_frames} frames")
        if width * height > self.max_pixels or width * height * num_frames > self.max_clip_pixels:
            raise MediaError("too_many_pixels", f"{width} x {height} pixels")
        if max(width, height) > self.max_side_px:
            raise MediaError("side_limit", f"{width} x {height} pixels")
        if max(width, height) > self.max_aspect * min(width, height):
            raise MediaError("aspect_limit", f"{width} x {height} pixels")

    def check_animation(self, width: int, height: int, num_frames: int, num_pixels: int) -> None:
        """Raise MediaError if an animation's canvas passes a limit, or the pixels that all its frames take."""
        self.check(width, height, num_frames)
        if num_pixels > self.max_animation_pixels:
            raise MediaError("too_many_pixels", f"{num_frames} frames of {width} x {height} pixels")

    def check_duration(self, duration_sec: float) -> None:
        """Raise MediaError if a clip is too long."""
        if duration_sec > self.max_duration_sec:
            raise MediaError("too_long", f"more than {self.max_duration_sec:g} s")


@contextmanager
def as_media_error() -> Iterator[None]:
    """Decoders raise far more than they document on damaged bytes; their messages hold addresses, so types are kept."""
    try:
        yield
    except MediaError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and str(error).startswith("image file is truncated"):
            raise MediaError("truncated", "the picture ends too early") from error
        raise MediaError("decode_error", type(error).__name__) from error


def is_mp4(media: bytes) -> bool:
    """Whether the first box names a brand of MP4 among those that the file is compatible with.

    HEIF and AVIF name some of them too; the major brand tells these apart. Brands count in the first 64 bytes, so that
    the head of a file tells as much as all of it.
    """
    if media[4:8] != b"ftyp" or media[8:12] in PICTURE_BRANDS:
        return False
    end = min(int.from_bytes(media[:4], "big"), MAX_BRANDS_BYTES, len(media))
    brands = [media[8:12], *(media[place : place + 4] for place in range(16, end - 3, 4))]
    return any(brand in MP4_BRANDS or brand[:3] == b"iso" for brand in brands)


def check_boxes(media: bytes) -> None:
    """Look through an MP4's boxes before it is opened.

    What follows index and data and is no box of MP4 does not matter: padding, or what a camera or a chat program adds.
    A file in pieces that is cut between two of them is told by its list of pieces, `sidx`, if it has one.

    Raises:
        MediaError: It is cut off, has more tracks than any clip needs, or a track that changes its codec midway.
    """
    kinds: set[bytes] = set()
    seen = memoryview(media)  # a slice of it is no copy, and a file may have a million boxes
    position, kind = 0, b""
    while position + 8 <= len(media):
        kind, start, end = _box(media, position, len(media))
        if (_is_over(kinds) and kind not in TOP_LEVEL) or not any(seen[position:]):
            return
        if end < start:
            raise MediaError("decode_error", "a box shorter than its header")
        if end > len(media):
            raise MediaError("truncated", f"boxes end at byte {end} of {len(media)}")
        kinds.add(kind)
        if kind == b"moov":
            _check_tracks(media, start, end)
        elif kind == b"sidx":
            _check_pieces(media, start, end)
        position = end
    if kind == b"moof":
        raise MediaError("truncated", "a fragment without its data")
    if position < len(media) and not _is_over(kinds):
        raise MediaError("truncated", f"a box's header ends at byte {len(media)}")


def _is_over(kinds: set[bytes]) -> bool:
    """Whether nothing more must come: a file in pieces may go on until its last box, `mfra`."""
    return {b"moov", b"mdat"} <= kinds and (b"moof" not in kinds or b"mfra" in kinds)


def _check_pieces(media: bytes, start: int, end: int) -> None:
    """Raise MediaError if the pieces of a clip that a `sidx` lists, which follow it, are not all there."""
    width = 8 if media[start : start + 1] == b"\x01" else 4
    offset, entries = start + 12 + width, start + 16 + 2 * width
    if entries > end:
        return
    count = int.from_bytes(media[entries - 2 : entries], "big")
    sizes = (int.from_bytes(media[at : at + 4], "big") & 0x7FFFFFFF for at in range(entries, end - 11, 12))
    last = end + int.from_bytes(media[offset : offset + width], "big") + sum(itertools.islice(sizes, count))
    if last > len(media):
        raise MediaError("truncated", f"pieces end at byte {last} of {len(media)}")


def _box(media: bytes, position: int, most: int) -> tuple[bytes, int, int]:
    """Kind of the box at a position, where its content starts, and its end; a size of 0 means to `most`."""
    size, kind = struct.unpack_from(">I4s", media, position)
    start = position + 8
    if size == 1 and position + 16 <= most:
        (size,) = struct.unpack_from(">Q", media, start)
        start += 8
    return kind, start, position + size if size else most


def _check_tracks(media: bytes, start: int, end: int) -> None:
    tracks = [track for kind, *track in _inner(media, start, end) if kind == b"trak"]
    if len(tracks) > MAX_STREAMS:
        raise MediaError("type_refused", f"{len(tracks)} streams")
    for track in tracks:
        for place, stop in _sample_descriptions(media, *track):
            codecs = {kind for kind, *_ in _inner(media, place + 8, stop)}
            if len(codecs) > 1:
                raise MediaError("clip_changes", "a track of several codecs")


def _sample_descriptions(media: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    for kind, place, stop in _inner(media, start, end):
        if kind == b"stsd":
            yield place, stop
        elif kind in CONTAINING:
            yield from _sample_descriptions(media, place, stop)


def _inner(media: bytes, position: int, most: int) -> Iterator[tuple[bytes, int, int]]:
    """Boxes within a box, up to the first that does not fit: FFmpeg judges that."""
    while position + 8 <= most:
        kind, start, end = _box(media, position, most)
        if end < start or end > most:
            return
        yield kind, start, end
        position = end
