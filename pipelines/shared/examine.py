"""What becomes of a body: its bytes as they are, or as the format that shards hold.

JPEG, PNG and WebP with one frame, and MP4, keep their bytes. A GIF with one frame becomes PNG, and so does a PNG that
shows another picture where animations are not known; an animated GIF, WebP or PNG becomes MP4 at its mean frame rate,
which keeps its length.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pipelines.shared.decode import (
    animation_frames,
    animation_rate,
    clip_size,
    encode_clip,
    encode_image,
    is_shown_otherwise,
    open_image,
    sniff,
)
from pipelines.shared.media import MediaError, MediaLimits
from pipelines.shared.sandbox import Sandbox

CONTENT_TYPES = {"jpg": "image/jpeg", "png": "image/png", "webp": "image/webp", "gif": "image/gif", "mp4": "video/mp4"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Media:
    """A picture or clip as it goes into a shard.

    Attributes:
        converted: Its bytes, if they are not those that were fetched.
        extension: `jpg`, `png`, `webp` or `mp4`.
        content_type: Of the bytes that were fetched, by their magic.
        width: Pixels, as shown.
        height: Pixels, as shown.
        num_frames: 1 for a picture.
        duration_sec: 0 for a picture.
    """

    converted: bytes | None
    extension: str
    content_type: str
    width: int
    height: int
    num_frames: int = 1
    duration_sec: float = 0.0


def examine(body: bytes, limits: MediaLimits) -> Media:
    """Decode a body to the end, and convert it if shards do not hold its format.

    Raises:
        MediaError: It is damaged, passes a limit, or is of no format that we take.
    """
    kind = sniff(body)
    if kind is None:
        raise MediaError("type_refused", "no picture or clip by its first bytes")
    if kind == "mp4":
        return _clip(body, None, CONTENT_TYPES[kind], limits)
    num_frames, rate = (1, 0.0) if kind == "jpg" else animation_rate(body, limits)
    if num_frames > 1:
        clip = encode_clip(animation_frames(body, limits), rate)
        return _clip(clip, clip, CONTENT_TYPES[kind], limits)
    image = open_image(body, limits)
    png = encode_image(image, "png") if kind == "gif" or (kind == "png" and is_shown_otherwise(body)) else None
    return Media(
        converted=png,
        extension="png" if png else kind,
        content_type=CONTENT_TYPES[kind],
        width=image.width,
        height=image.height,
    )


def answer(settings: Mapping[str, Any], body: bytes) -> tuple[dict[str, Any], bytes]:
    """`examine` as a task of the sandbox: settings are those of `MediaLimits`, `converted` comes back as the body."""
    facts = asdict(examine(body, MediaLimits(**settings)))
    converted = facts.pop("converted")
    return facts, converted or b""


def examine_in(sandbox: Sandbox, body: bytes, limits: MediaLimits) -> Media:
    """`examine` in a sandbox.

    Raises:
        LinkError: As `examine`, or `decode_crash` or `decode_timeout`.
    """
    facts, converted = sandbox.call(__name__, asdict(limits), body)
    return Media(**facts, converted=converted or None)


def _clip(clip: bytes, converted: bytes | None, content_type: str, limits: MediaLimits) -> Media:
    width, height, num_frames, rate = clip_size(clip, limits)
    return Media(
        converted=converted,
        extension="mp4",
        content_type=content_type,
        width=width,
        height=height,
        num_frames=num_frames,
        duration_sec=round(num_frames / rate, 6),
    )
