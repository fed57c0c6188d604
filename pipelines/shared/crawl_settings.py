"""Settings of the crawl: its section of `params.yaml`, and its part of a source's entry."""

from dataclasses import dataclass, field

from pipelines.shared.fetch_settings import FetchLimits, FetchSettings
from pipelines.shared.guard import Guard
from pipelines.shared.media import MediaLimits
from pipelines.shared.stage import STATE


@dataclass(frozen=True, kw_only=True, slots=True)
class CrawlSettings:
    """The section `crawl` of `params.yaml`.

    Attributes:
        contact: URL or mail address for the User-Agent; must be set to fetch from other machines.
        fetch: Bounds of a link.
        media: Bounds of a picture or clip.
        decode_sec: Longest time that a picture or clip may take to decode, in a process of its own.
        decode_memory_mib: That process's address space.
    """

    contact: str = ""
    fetch: FetchLimits = field(default_factory=FetchLimits)
    media: MediaLimits = field(default_factory=MediaLimits)
    decode_sec: float = 60.0
    decode_memory_mib: int = 2048

    def __post_init__(self) -> None:
        if not self.contact.isprintable() or not self.contact.isascii():
            raise ValueError(f"contact must be printable ASCII, got {self.contact!r}")
        if self.decode_sec <= 0:
            raise ValueError(f"decode_sec must be above 0, got {self.decode_sec}")
        if self.decode_memory_mib < 256:
            raise ValueError(f"decode_memory_mib must be at least 256, got {self.decode_memory_mib}")


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceEntry:
    """The crawl's own settings of an entry of `sources`.

    Attributes:
        serve: Folder that is served on this machine while the stage runs, as `http://localhost/`; empty for none. One
            behind a URL (`s3://...`) is copied to this machine first.
        samples_per_shard: Most links of a shard, successes or not; shards are half full to full (`ranges`).
        max_failed_frac: Largest share of links that may fail.
        warn_rejected_frac: Share of links that may be turned away by rules without a warning at the crawl's end.
        requests_per_host: Requests at a time at one host, per worker process (the served site: always 32).
        delay_sec: Between the starts of two requests to one host, over all worker processes of a machine (the served
            site: none). A longer Crawl-delay in robots.txt is kept.
    """

    serve: str = ""
    samples_per_shard: int = 1000
    max_failed_frac: float = 0.6
    warn_rejected_frac: float = 0.5
    requests_per_host: int = 1
    delay_sec: float = 1.0

    def __post_init__(self) -> None:
        for name, low, high in (
            ("samples_per_shard", 1, 10_000),
            ("max_failed_frac", 0, 1),
            ("warn_rejected_frac", 0, 1),
            ("requests_per_host", 1, 64),
            ("delay_sec", 0, 3600),
        ):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} must be from {low} to {high}, got {getattr(self, name)}")


def fetch_settings(settings: CrawlSettings, entry: SourceEntry, served_port: int | None) -> FetchSettings:
    """How a source's links are fetched.

    Args:
        settings: Section `crawl`.
        entry: The source's entry.
        served_port: Port of the site that the stage serves, if it does.

    Raises:
        ValueError: Nothing is served and there is nobody to contact.
    """
    if served_port is None and not settings.contact:
        raise ValueError(
            "params.yaml: crawl.contact must be your URL or mail address before anything is fetched from other machines"
        )
    return FetchSettings(
        limits=settings.fetch,
        guard=Guard(served_port=served_port, only_served=not settings.contact),
        contact=settings.contact,
        requests_per_host=entry.requests_per_host,
        delay_sec=entry.delay_sec,
        pace_folder=STATE / "pace",
    )
