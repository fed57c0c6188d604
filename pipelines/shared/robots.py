"""robots.txt by RFC 9309, parsed by Protego, fetched once per origin.

Statuses (2.3.1): 2xx is obeyed; 4xx means that there are no rules, except 429, which counts as unreachable; 5xx, a
failed connection and a refused address mean that everything is disallowed. At most five redirects are followed, the
rules apply to the origin that was asked; after more there are no rules. The first 512 KiB are parsed. Longest match
wins, `Allow` wins ties, `*` and `$` are understood.
"""

import asyncio
from collections.abc import Awaitable, Callable

from protego import Protego
from yarl import URL

from pipelines.shared.reasons import LinkError

ROBOTS_BYTES = 512 << 10
MOST_CRAWL_DELAY_SEC = 30.0
UNREAD = "robots.txt could not be read"


class Robots:
    """The rules of all origins that were asked so far."""

    def __init__(self, read: Callable[[URL], Awaitable[bytes]], robot: str) -> None:
        """`read` gives the first `ROBOTS_BYTES` of a robots.txt or raises LinkError; `robot` is our name."""
        self.read = read
        self.robot = robot
        self._rules: dict[URL, asyncio.Future[Protego]] = {}
        self._unread: set[URL] = set()

    async def check(self, url: URL) -> float:
        """The origin's crawl delay in seconds, if our robot may fetch the URL.

        Raises:
            LinkError: `robots_denied`; its message is `UNREAD` where no rules are known, which may pass.
        """
        rules = await self._origin_rules(url.origin())
        if url.origin() in self._unread:
            raise LinkError("robots_denied", UNREAD)
        delay_sec = float(rules.crawl_delay(self.robot) or 0.0)
        if delay_sec > MOST_CRAWL_DELAY_SEC:
            raise LinkError("robots_denied", f"Crawl-delay above {MOST_CRAWL_DELAY_SEC:.0f} s")
        if not rules.can_fetch(str(url), self.robot):
            raise LinkError("robots_denied", "disallowed by robots.txt")
        return delay_sec

    async def _origin_rules(self, origin: URL) -> Protego:
        if origin not in self._rules:
            self._rules[origin] = asyncio.ensure_future(self._fetch(origin))
        return await asyncio.shield(self._rules[origin])

    async def _fetch(self, origin: URL) -> Protego:
        try:
            content = await self.read(origin.joinpath("robots.txt"))
        except LinkError as error:
            if not is_unavailable(error.reason):
                self._unread.add(origin)
            return Protego.parse("")
        return Protego.parse(content[:ROBOTS_BYTES].decode("utf-8", "replace").removeprefix("\ufeff"))


def is_unavailable(reason: str) -> bool:
    """Whether an origin whose robots.txt was not read for a reason has none; else everything is disallowed."""
    return reason == "redirect_limit" or (reason.startswith("http_4") and reason != "http_429")
