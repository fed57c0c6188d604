"""How the fetcher behaves: bounds of a link, politeness, what may be reached."""

import importlib.metadata
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.shared.guard import Guard

ROBOT = "Vignette"


@dataclass(frozen=True, kw_only=True, slots=True)
class FetchLimits:
    """Bounds of a single link.

    Attributes:
        deadline_sec: From the first byte sent to the last byte received, over all redirects.
        connect_sec: For a connection, TLS included.
        idle_sec: Longest silence.
        min_bytes_per_sec: Lowest mean rate of a body, looked at after `idle_sec`.
        max_redirects: Hops.
        retries: Further tries after a failure that may pass (`reasons.TRIES_AGAIN`).
        backoff_sec: Pause before the first retry; it doubles.
        max_retry_after_sec: Longest pause that a server's Retry-After gets.
        connections: Requests at a time, per worker process.
        max_image_bytes: Body of a picture.
        max_clip_bytes: Body of a clip.
        max_page_bytes: Body of an HTML page.
    """

    deadline_sec: float = 30.0
    connect_sec: float = 5.0
    idle_sec: float = 10.0
    min_bytes_per_sec: float = 1024.0
    max_redirects: int = 5
    retries: int = 2
    backoff_sec: float = 1.0
    max_retry_after_sec: float = 120.0
    connections: int = 64
    max_image_bytes: int = 20 << 20
    max_clip_bytes: int = 64 << 20
    max_page_bytes: int = 4 << 20

    def __post_init__(self) -> None:
        for name in ("deadline_sec", "connect_sec", "idle_sec"):
            if not 0 < getattr(self, name) <= 3600:
                raise ValueError(f"{name} must be above 0 and at most 3600, got {getattr(self, name)}")
        for name in ("min_bytes_per_sec", "backoff_sec", "max_retry_after_sec", "retries", "max_redirects"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        for name in ("max_image_bytes", "max_clip_bytes", "max_page_bytes"):
            if not 1 <= getattr(self, name) <= 1 << 30:
                raise ValueError(f"{name} must be from 1 to {1 << 30}, got {getattr(self, name)}")
        if not 1 <= self.connections <= 4096:
            raise ValueError(f"connections must be from 1 to 4096, got {self.connections}")


@dataclass(frozen=True, kw_only=True, slots=True)
class FetchSettings:
    """How a fetcher behaves.

    Attributes:
        limits: Bounds of a single link.
        guard: What may be reached.
        contact: URL or mail address in the User-Agent.
        requests_per_host: Requests at a time at one host, per worker process.
        delay_sec: Between the starts of two requests to one host, over all worker processes of a machine.
        pace_folder: Where those processes keep the hosts' next free moments.
    """

    limits: FetchLimits = field(default_factory=FetchLimits)
    guard: Guard = field(default_factory=Guard)
    contact: str = ""
    requests_per_host: int = 1
    delay_sec: float = 1.0
    pace_folder: Path = Path(".vignette/pace")

    @property
    def user_agent(self) -> str:
        """`Vignette/<version> (+<contact>)`."""
        name = f"{ROBOT}/{importlib.metadata.version('vignette')}"
        return f"{name} (+{self.contact})" if self.contact else name
