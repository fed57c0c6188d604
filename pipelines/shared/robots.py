"""robots.txt by RFC 9309, parsed by Protego, fetched once per origin.

Statuses (2.3.1): 2xx is obeyed; 4xx means that there are no rules, except 429, which counts as unreachable; 5xx, a
failed connection and a refused address mean that everything is disallowed. At most five redirects are followed, the
rules apply to the origin that was asked; after more there are no rules. The first 512 KiB are parsed. Longest match
wins, `Allow` wins ties, `*` and `$` are understood.

Only the groups that speak to us are given to Protego (`own_rules`), in a thread: a file of many agents times many rules
would take it quadratic time and memory. A group speaks to us if our product token stands in its `User-agent` line, in
any case and whatever follows it (`Vignette/1.0`); where there is none, the groups of `*` do.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable

from protego import Protego
from yarl import URL

from pipelines.shared.answers import FetchError
from pipelines.shared.reasons import LinkError

ROBOTS_BYTES = 512 << 10
MOST_CRAWL_DELAY_SEC = 30.0
UNREAD = "robots.txt could not be read"
OF_ITS_HOST = frozenset({"dns_error", "addr_refused"})
AGENT = re.compile(r"(?i)user[ -]?agent(?:\s*:|\s)\s*(?P<name>.*)")
# as Protego reads them, misspelled or without a colon
RULE = re.compile(
    r"(?i)(allow|dis{1,2}al{1,2}ow|diasllow|disallaw|crawl[ -]delay|request[ -]rate|visit[ -]time)(?:\s*:|\s)"
)
EVERYBODY = re.compile(r"\*+(?:\s.*)?")


class Robots:
    """The rules of all origins that were asked so far."""

    def __init__(self, read: Callable[[URL], Awaitable[bytes]], robot: str) -> None:
        """`read` gives the first `ROBOTS_BYTES` of a robots.txt or raises LinkError; `robot` is our name."""
        self.read = read
        self.robot = robot
        self._rules: dict[URL, asyncio.Future[Protego]] = {}
        self._unread: dict[URL, LinkError] = {}

    async def check(self, url: URL) -> float:
        """The origin's crawl delay in seconds, if our robot may fetch the URL.

        Raises:
            LinkError: `robots_denied`; its message is `UNREAD` where no rules are known, which may pass. Where its host
                has no address, or none that we take, `dns_error` or `addr_refused`.
        """
        rules = await self._origin_rules(url.origin())
        if url.origin() in self._unread:
            raise self._unread[url.origin()]
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
        place = origin.joinpath("robots.txt")
        try:
            content = await self.read(place)
        except LinkError as error:
            if not is_unavailable(error.reason):
                is_of_host = isinstance(error, FetchError) and error.final_url == str(place)
                self._unread[origin] = (
                    LinkError(error.reason, error.message)
                    if is_of_host and error.reason in OF_ITS_HOST
                    else LinkError("robots_denied", UNREAD)
                )
            return Protego.parse("")
        return await asyncio.to_thread(self._parsed, content[:ROBOTS_BYTES])

    def _parsed(self, content: bytes) -> Protego:
        text = content.decode("utf-8", "replace").removeprefix("\ufeff")
        return Protego.parse("\n".join(own_rules(text, self.robot)))


def own_rules(text: str, robot: str) -> list[str]:
    """The lines of a robots.txt that speak to a robot, as one group of everybody; records of other kinds end no group.

    Args:
        text: The file.
        robot: Our product token.
    """
    token = re.compile(rf"(?i)(?<![a-z_-]){re.escape(robot)}(?![a-z_-])")
    ours: list[str] = []
    everybodys: list[str] = []
    is_ours = is_everybodys = is_named = in_rules = False
    for line in text.splitlines():
        plain = line.partition("#")[0].strip()
        if agent := AGENT.fullmatch(plain):
            if in_rules:
                is_ours = is_everybodys = in_rules = False
            is_ours |= token.search(agent["name"]) is not None
            is_everybodys |= EVERYBODY.fullmatch(agent["name"]) is not None
            is_named |= is_ours
        elif RULE.match(plain):
            in_rules = True
            if is_ours:
                ours.append(plain)
            if is_everybodys:
                everybodys.append(plain)
    return ["User-agent: *", *(ours if is_named else everybodys)]


def is_unavailable(reason: str) -> bool:
    """Whether an origin whose robots.txt was not read for a reason has none; else everything is disallowed."""
    return reason == "redirect_limit" or (reason.startswith("http_4") and reason != "http_429")
