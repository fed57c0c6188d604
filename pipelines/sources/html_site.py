"""Links from the pages of a web site: from a start page over all pages of the same origin below the start's folder.

Breadth first, in the order of the links in the pages, robots.txt obeyed; pictures and clips may lie anywhere. How
many pages were read, and why others were not, the fetcher counts.
"""

import asyncio
import urllib.parse
from collections.abc import AsyncIterator
from dataclasses import dataclass

from pipelines.shared.fetch import Fetcher
from pipelines.shared.fetch_settings import ROBOT
from pipelines.shared.html import Page, read_page_in
from pipelines.shared.plan import canonical_url
from pipelines.shared.reasons import LinkError
from pipelines.shared.records import ORIGINS, Link
from pipelines.shared.sandbox import Sandbox

PAGES_AT_A_TIME = 64
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
            start = canonical_url(urllib.parse.urljoin(fetcher.base_url, self.config.start))
            try:
                home = await reader.read(start)
            except LinkError as error:
                raise ValueError(f"start page {start} cannot be read: {error}") from error
            folder = home.url[: home.url.rindex("/") + 1]
            seen, waiting, pages = {start, home.url}, list[str](), [home]
            while pages or waiting:
                for page in pages:
                    for link in page.links:
                        yield link
                    new = dict.fromkeys(map(canonical_url, page.follows))
                    below = [address for address in new if address.startswith(folder) and address not in seen]
                    room = max(0, self.config.max_pages - len(seen))
                    seen.update(below)
                    waiting += below[:room]
                    fetcher.page_counts["over_max_pages"] += len(below[room:])
                batch, waiting = waiting[:PAGES_AT_A_TIME], waiting[PAGES_AT_A_TIME:]
                read = await asyncio.gather(*map(reader.try_to_read, batch))
                pages = [page for page in read if page is not None and page.url.startswith(folder)]


@dataclass(frozen=True, slots=True)
class PageReader:
    """Fetches and reads pages, and counts how that went."""

    fetcher: Fetcher
    sandbox: Sandbox
    origin: str

    async def read(self, address: str) -> Page:
        """A page; raises LinkError if there is none."""
        try:
            response = await self.fetcher.get_page(address)
            about = {"content_type": response.content_type, "url": response.final_url, "origin": self.origin}
            page = await asyncio.to_thread(read_page_in, self.sandbox, response.body, **about, robot=ROBOT.lower())
        except LinkError as error:
            self.fetcher.page_counts[error.reason] += 1
            raise
        self.fetcher.page_counts["fetched"] += 1
        return page

    async def try_to_read(self, address: str) -> Page | None:
        """A page, or None."""
        try:
            return await self.read(address)
        except LinkError:
            return None
