"""Links from the pages of a web site: from a start page over all pages of the same origin below the start's folder.

Breadth first, in the order of the links in the pages, robots.txt obeyed; pictures and clips may lie anywhere. How
many pages were read, and why others were not, the fetcher counts, and so what was left out on those that were read. A
few pages are under way at a time and no more are held in memory; the order does not depend on which comes first.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

from pipelines.shared.fetch import Fetcher
from pipelines.shared.fetch_settings import ROBOT
from pipelines.shared.html import Page, read_page_in
from pipelines.shared.reasons import LinkError
from pipelines.shared.records import ORIGINS, Link
from pipelines.shared.sandbox import Sandbox
from pipelines.shared.unexpected import as_link_error
from pipelines.shared.urls import canonical_url, resolved

PAGES_AT_A_TIME = 16
MOST_OVER = 100_000
PAGE_TIMEOUT_SEC = 20.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Settings.

    Attributes:
        start: Address of the first page; relative to the served site's root where the entry has `serve`.
        max_pages: At most so many pages are fetched, in breadth-first order.
        origin: `web`, or `human` if people wrote the captions for the pictures.
    """

    start: str
    max_pages: int = 10_000
    origin: str = "web"

    def __post_init__(self) -> None:
        if self.max_pages < 1:
            raise ValueError(f"max_pages must be at least 1, got {self.max_pages}")
        if self.origin not in ORIGINS:
            raise ValueError(f"origin must be one of {', '.join(ORIGINS)}, got {self.origin!r}")


class Source:
    """See `pipelines.sources.Source`."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def files(self) -> tuple[str, ...]:
        """None: the pages are read through the fetcher."""
        return ()

    def serves(self) -> str:
        """Nothing: a site on this machine is named by the entry's `serve`."""
        return ""

    async def links(self, fetcher: Fetcher) -> AsyncIterator[Link]:
        """The pictures and clips of all pages.

        Raises:
            ValueError: The start page cannot be read.
        """
        with Sandbox(PAGE_TIMEOUT_SEC) as sandbox:
            reader = PageReader(fetcher, sandbox, self.config.origin)
            start = canonical_url(resolved(fetcher.base_url, self.config.start))
            try:
                home = await reader.read(start)
            except LinkError as error:
                raise ValueError(f"start page {start} cannot be read: {error}") from error
            walk = Walk(home.url[: home.url.rindex("/") + 1], self.config.max_pages, {start, home.url})
            under_way: deque[asyncio.Task[Page | None]] = deque()
            page: Page | None = home
            try:
                while page or under_way or walk.waiting:
                    if page is not None and page.url.startswith(walk.folder):
                        for link in page.links:
                            yield link
                        fetcher.page_counts["over_max_pages"] += walk.add(page.follows)
                    while walk.waiting and len(under_way) < PAGES_AT_A_TIME:
                        under_way.append(asyncio.ensure_future(reader.try_to_read(walk.waiting.popleft())))
                    page = await under_way.popleft() if under_way else None
            finally:
                for task in under_way:
                    task.cancel()


class Walk:
    """Which pages of a site are still to be read."""

    def __init__(self, folder: str, max_pages: int, seen: set[str]) -> None:
        """`folder` is what addresses of pages begin with, `seen` has those that were read."""
        self.folder = folder
        self.max_pages = max_pages
        self.seen = seen
        self.waiting: deque[str] = deque()

    def add(self, addresses: Iterable[str]) -> int:
        """Line up the new ones of the addresses that a page links to; returns how many are too many."""
        num_over = 0
        for address in addresses:
            if not address.startswith(self.folder) or address in self.seen:
                continue
            if len(self.seen) < self.max_pages:
                self.waiting.append(address)
            else:
                num_over += 1
            if len(self.seen) < self.max_pages + MOST_OVER:
                self.seen.add(address)
        return num_over


@dataclass(frozen=True, slots=True)
class PageReader:
    """Fetches and reads pages, and counts how that went."""

    fetcher: Fetcher
    sandbox: Sandbox
    origin: str

    async def read(self, address: str) -> Page:
        """A page; raises LinkError if there is none."""
        try:
            with as_link_error(address):
                response = await self.fetcher.get_page(address)
            about = {"content_type": response.content_type, "url": response.final_url, "origin": self.origin}
            with as_link_error(address):
                page = await asyncio.to_thread(read_page_in, self.sandbox, response.body, **about, robot=ROBOT.lower())
        except LinkError as error:
            self.fetcher.page_counts[error.reason] += 1
            raise
        self.fetcher.page_counts["fetched"] += 1
        self.fetcher.picture_counts.update(page.left_out)
        return page

    async def try_to_read(self, address: str) -> Page | None:
        """A page, or None."""
        try:
            return await self.read(address)
        except LinkError:
            return None
