"""What is refused of a picture or clip, and why; see `decode` for the decoding."""

import struct
from dataclasses import dataclass

from pipelines.shared.reasons import LinkError


class MediaError(LinkError):
    """Bytes that are not a picture or clip that we take; see `reasons` for the codes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MediaLimits:
    """What is refused before it is decoded; the defaults are also the most that may be set.

    Attributes:
        max_pixels: Pixels of a picture or of one frame.
        max_side_px: Longer side.
        max_aspect: Longer side over shorter side.
        max_frames: Frames of a clip or an animated picture.
        max_clip_pixels: Pixels of all frames together.
    """

    max_pixels: int = 50_000_000
    max_side_px: int = 16_383
    max_aspect: float = 20.0
    max_frames: int = 18_000
    max_clip_pixels: int = 4_000_000_000

    def __post_init__(self) -> None:
        ceilings = {"max_pixels": 50_000_000, "max_side_px": 16_383, "max_frames": 18_000, "max_clip_pixels": 4 * 10**9}
        for name, ceiling in ceilings.items():
            if not 1 <= getattr(self, name) <= ceiling:
                raise ValueError(f"{name} must be from 1 to {ceiling}, got {getattr(self, name)}")
        if not 1 <= self.max_aspect <= 16_383:
            raise ValueError(f"max_aspect must be from 1 to 16383, got {self.max_aspect}")

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


def check_boxes(media: bytes) -> None:
    """Raise MediaError if an MP4's top-level boxes go past its end: FFmpeg plays a cut file without a word."""
    position = 0
    while position + 8 <= len(media):
        (size,) = struct.unpack_from(">I", media, position)
        if size == 1 and position + 16 <= len(media):
            (size,) = struct.unpack_from(">Q", media, position + 8)
        if size == 0:
            return
        if size < 8:
            raise MediaError("decode_error", "a box shorter than its header")
        position += size
    if position != len(media):
        raise MediaError("truncated", f"boxes end at byte {position} of {len(media)}")
