"""What a sample is, in memory and by name.

Pixels are uint8 RGB at every file boundary. A sample's key is derived from where it came from, so it stays the same
when other samples come or go.
"""

import hashlib
import re
from dataclasses import dataclass, field
from typing import Any, Literal

Origin = Literal["web", "human", "synthetic"]
ORIGINS: tuple[str, ...] = ("web", "human", "synthetic")
KEY = re.compile(r"[0-9a-f]{20}")
REASON = re.compile(r"[a-z][a-z0-9_]*(:[a-z0-9_.-]+)?")
MEDIA_EXTENSIONS: tuple[str, ...] = ("jpg", "png", "webp", "mp4")
EXTENSIONS: tuple[str, ...] = (*MEDIA_EXTENSIONS, "txt", "json")


def sample_key(source: str, url: str) -> str:
    """The first 20 hex digits of sha256 over the source's key and the URL."""
    return hashlib.sha256(f"{source}\x00{url}".encode()).hexdigest()[:20]


@dataclass(frozen=True, kw_only=True, slots=True)
class Caption:
    """One text about a sample.

    Attributes:
        text: The caption, NFC-normalised, at most 2,000 code points.
        origin: `web`, `human` or `synthetic`.
        place: Where it stood (`alt`, `figcaption`, `title`, `column:caption`) or what wrote it (`captioner`).
        model_sha256: Weights that wrote a synthetic caption, else empty.
        scores: Scores of this caption by name, such as `match` and `clip`.
    """

    text: str
    origin: str
    place: str = ""
    model_sha256: str = ""
    scores: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.origin not in ORIGINS:
            raise ValueError(f"caption origin must be one of {', '.join(ORIGINS)}, got {self.origin!r}")

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON and Parquet."""
        return {
            "text": self.text,
            "origin": self.origin,
            "place": self.place,
            "model_sha256": self.model_sha256,
            "scores": dict(self.scores),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Link:
    """A picture or clip that a source points at, before it was fetched.

    Attributes:
        url: Absolute address.
        captions: Texts that the source has for it, best first; may be empty, which the crawl rejects with a reason.
        page_url: Page or list that it was found on.
        optout: Signal by which its page reserves it, such as `noimageai`; the crawl rejects it then.
    """

    url: str
    captions: tuple[Caption, ...] = ()
    page_url: str = ""
    optout: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One sample of a shard: the bytes of its picture or clip, and its `json` member.

    Attributes:
        key: 20 hex digits, see `sample_key`.
        extension: `jpg`, `png`, `webp` or `mp4`.
        media: Encoded bytes.
        captions: All captions, the first one is also the `txt` member.
        facts: Further JSON values: `source`, `url`, `width`, `height` and what the stage adds.
    """

    key: str
    extension: str
    media: bytes
    captions: tuple[Caption, ...]
    facts: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not KEY.fullmatch(self.key):
            raise ValueError(f"a sample's key must be 20 hex digits, got {self.key!r}")
        if self.extension not in MEDIA_EXTENSIONS:
            raise ValueError(
                f"a sample's extension must be one of {', '.join(MEDIA_EXTENSIONS)}, got {self.extension!r}"
            )

    @property
    def is_video(self) -> bool:
        """Whether the sample is a clip."""
        return self.extension == "mp4"
