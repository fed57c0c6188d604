"""One HTTP client for everything that is fetched: pooled, guarded, polite, and bounded in bytes and time.

Each request (links, redirect hops, robots.txt) passes the guard, robots.txt and its host's turn. Redirects are followed
by hand, bodies are read with a budget and never drained, compressed bodies are refused, and an answer that ends before
its stated length is not an answer. Time spent waiting for a turn does not count against the deadline, so that a row
depends on what the server answers and not on how busy we are.
"""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import aiohttp
from yarl import URL

from pipelines.shared.answers import (
    NOT_MODIFIED,
    NOTHING_HELD,
    REDIRECTS,
    FetchError,
    Held,
    check_headers,
    fault_reason,
    redirect_target,
    retry_after_sec,
    validators,
)
from pipelines.shared.decode import sniff
from pipelines.shared.fetch_settings import ROBOT, FetchSettings
from pipelines.shared.guard import SERVED_HOST, SERVED_ORIGIN, GuardedResolver
from pipelines.shared.names import Lookup
from pipelines.shared.pace import Pace
from pipelines.shared.pages import PageStore
from pipelines.shared.reasons import TRIES_AGAIN, LinkError
from pipelines.shared.robots import ROBOTS_BYTES, Robots
from pipelines.shared.seeds import unit_interval

SERVED_REQUESTS = 32
HEAD_BYTES = 64
HTML_TYPES = frozenset({"text/html", "application/xhtml+xml"})
HEADERS = {"Accept": "*/*", "Accept-Encoding": "identity"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Response:
    """An answer with status 200 and its whole body, or word that the one we hold is still right.

    Attributes:
        final_url: Where it came from, after redirects.
        body: Its bytes; none where it is unchanged.
        content_type: As the server states it; never trusted for what the bytes are.
        etag: Its ETag, at most 256 characters; empty for none, and always for the site that the stage serves.
        last_modified: Its Last-Modified, likewise.
        is_unchanged: The server answered 304 to the validators of the answer that we hold.
    """

    final_url: str
    body: bytes
    content_type: str
    etag: str = ""
    last_modified: str = ""
    is_unchanged: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Want:
    """What is fetched.

    Attributes:
        budget: How many bytes the body may have, told by its first 32 bytes; raises LinkError if it is not wanted.
        cuts: Take the first bytes of a longer body instead of refusing it.
        obeys_robots: False for robots.txt itself.
        held: The answer that we have; never of the site that the stage serves, whose times are coarse.
    """

    budget: Callable[[bytes], int]
    cuts: bool = False
    obeys_robots: bool = True
    held: Held = NOTHING_HELD


WANT_ROBOTS = Want(budget=lambda head: ROBOTS_BYTES, cuts=True, obeys_robots=False)


class Fetcher:
    """The client; use as `async with`.

    Attributes:
        page_counts: How many pages a source read (`fetched`), or why not; the source counts.
        picture_counts: What the source left out on the pages that it read, see `html.Page.left_out`.
    """

    def __init__(self, settings: FetchSettings, lookup: Lookup | None = None, pages: PageStore | None = None) -> None:
        """`lookup` replaces the system's name resolution; `pages` keeps pages, so that they are asked conditionally."""
        self.settings = settings
        self.pages = pages
        self.limits = settings.limits
        self.guard = settings.guard
        self.lookup = lookup
        self.page_counts: Counter[str] = Counter()
        self.picture_counts: Counter[str] = Counter()
        self.robots = Robots(self._read_robots, ROBOT)
        self.pace = Pace(settings.pace_folder)
        self._hosts: dict[str, asyncio.Semaphore] = {}

    async def __aenter__(self) -> Self:
        self._resolver = GuardedResolver(self.guard, self.lookup)
        self._slots = asyncio.Semaphore(self.limits.connections)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, resolver=self._resolver),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={**HEADERS, "User-Agent": self.settings.user_agent},
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=self.limits.connect_sec, sock_read=self.limits.idle_sec
            ),
            auto_decompress=False,
            trust_env=False,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    @property
    def base_url(self) -> str:
        """What a source's relative start is resolved against; empty when nothing is served."""
        return f"{SERVED_ORIGIN}/" if self.guard.served_port is not None else ""

    def window(self, url: str) -> int:
        """How many links of a URL's host may be under way at a time."""
        is_served = url.startswith(f"{SERVED_ORIGIN}/") and self.guard.served_port is not None
        return SERVED_REQUESTS if is_served else self.settings.requests_per_host

    async def get(self, url: str, want: Want) -> Response:
        """Fetch a URL, with retries.

        Raises:
            LinkError: There is no usable answer.
        """
        for attempt in itertools.count():
            try:
                return await self._follow(self.guard.check(url), want)
            except FetchError as error:
                if attempt >= self.limits.retries or error.reason not in TRIES_AGAIN:
                    raise
                await self._pause(error, attempt)
        raise AssertionError("unreachable")

    async def get_media(self, url: str, held: Held = NOTHING_HELD) -> Response:
        """Fetch a picture or clip, or learn that the one that we hold is unchanged.

        Raises:
            LinkError: There is no usable answer, or its first bytes are of no format that we take.
        """
        return await self.get(url, Want(budget=self._media_budget, held=held))

    async def get_page(self, url: str) -> Response:
        """Fetch an HTML page.

        Raises:
            LinkError: There is no usable answer, or it is not HTML by its content type.
        """
        stored = self.pages.find(url) if self.pages else None
        response = await self.get(url, Want(budget=self._page_budget, held=stored.held if stored else NOTHING_HELD))
        if response.is_unchanged and stored:
            response = Response(final_url=response.final_url, body=stored.body, content_type=stored.content_type)
        elif self.pages:
            held = Held(final_url=response.final_url, etag=response.etag, last_modified=response.last_modified)
            self.pages.keep(url, held, response.content_type, response.body)
        if response.content_type.partition(";")[0].strip().lower() not in HTML_TYPES:
            raise LinkError("type_refused", "not HTML")
        return response

    def _media_budget(self, head: bytes) -> int:
        if not head:
            raise LinkError("empty")
        kind = sniff(head)
        if kind is None:
            raise LinkError("type_refused", "no picture or clip by its first bytes")
        return self.limits.max_clip_bytes if kind == "mp4" else self.limits.max_image_bytes

    def _page_budget(self, head: bytes) -> int:
        if sniff(head) is not None:
            raise LinkError("type_refused", "a picture or clip, not a page")
        return self.limits.max_page_bytes

    async def _read_robots(self, url: URL) -> bytes:
        return (await self.get(str(url), WANT_ROBOTS)).body

    async def _pause(self, error: FetchError, attempt: int) -> None:
        """Wait before a retry: as long as the server asks for, which then holds for its whole host, or a back-off."""
        asked_sec = retry_after_sec(error.retry_after, time.time())
        if asked_sec is None:
            jitter = 0.5 + unit_interval(0, "backoff", error.final_url, attempt)
            await asyncio.sleep(self.limits.backoff_sec * 2**attempt * jitter)
            return
        pause_sec = min(asked_sec, self.limits.max_retry_after_sec)
        url = URL(error.final_url, encoded=True)
        if not self.guard.is_served(url):
            self.pace.hold(url.authority, pause_sec)
        await asyncio.sleep(pause_sec)

    async def _follow(self, url: URL, want: Want) -> Response:
        """One try, over all redirects."""
        remaining_sec = self.limits.deadline_sec
        for _ in range(self.limits.max_redirects + 1):
            delay_sec = await self.robots.check(url) if want.obeys_robots else 0.0
            async with self._turn(url, delay_sec):
                started = time.monotonic()
                answer = await self._request(url, want, remaining_sec)
                remaining_sec -= time.monotonic() - started
            if isinstance(answer, Response):
                return answer
            url = self.guard.check(answer)
        raise FetchError("redirect_limit", f"more than {self.limits.max_redirects}", final_url=str(url))

    @asynccontextmanager
    async def _turn(self, url: URL, crawl_delay_sec: float) -> AsyncIterator[None]:
        """A place among the requests to a host and among all requests; nothing is held while another is waited for."""
        is_served = self.guard.is_served(url)
        if url.authority not in self._hosts:
            most = SERVED_REQUESTS if is_served else self.settings.requests_per_host
            self._hosts[url.authority] = asyncio.Semaphore(most)
        async with self._hosts[url.authority]:
            if not is_served:
                await self._resolve(url)
                await self.pace.turn(url.authority, max(self.settings.delay_sec, crawl_delay_sec))
            async with self._slots:
                yield

    async def _resolve(self, url: URL) -> None:
        """Look up the host before its turn, so that a slow name takes no place and no time from others."""
        try:
            await self._resolver.prepare(self.guard.target(url))
        except LinkError as error:
            raise FetchError(error.reason, error.message, final_url=str(url)) from error

    async def _request(self, url: URL, want: Want, deadline_sec: float) -> Response | str:
        """One request: the answer, or the URL that it redirects to."""
        status, is_served = 0, self.guard.is_served(url)
        conditions = {} if is_served else want.held.conditions(url)
        headers = {"Host": SERVED_HOST} if is_served else conditions
        try:
            async with (
                asyncio.timeout(max(deadline_sec, 0.0)),
                self._session.get(self.guard.target(url), headers=headers, allow_redirects=False) as response,
            ):
                status = response.status
                if status in REDIRECTS:
                    return redirect_target(url, response)
                check_headers(response, conditional=bool(conditions), is_rules=not want.obeys_robots)
                is_unchanged = status == NOT_MODIFIED
                body = b"" if is_unchanged else await self._body(response, want)
                return Response(
                    final_url=str(url),
                    body=body,
                    content_type=response.headers.get("Content-Type", "").encode("ascii", "replace").decode(),
                    is_unchanged=is_unchanged,
                    **({} if is_served else validators(response.headers)),
                )
        except LinkError as error:
            retry_after = error.retry_after if isinstance(error, FetchError) else ""
            raise FetchError(
                error.reason, error.message, http_status=status, final_url=str(url), retry_after=retry_after
            ) from error
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise FetchError(
                fault_reason(error), type(error).__name__, http_status=status, final_url=str(url)
            ) from error

    async def _body(self, response: aiohttp.ClientResponse, want: Want) -> bytes:
        body, most, started = bytearray(), None, time.monotonic()
        async for chunk in response.content.iter_any():
            body += chunk
            if most is None and len(body) >= HEAD_BYTES:
                most = want.budget(bytes(body[:HEAD_BYTES]))
            if most is not None and max(len(body), response.content_length or 0) > most and not want.cuts:
                raise LinkError("body_limit", f"more than {most} bytes")
            if most is not None and len(body) >= most and want.cuts:
                return bytes(body[:most])
            elapsed_sec = time.monotonic() - started
            if elapsed_sec > self.limits.idle_sec and len(body) < self.limits.min_bytes_per_sec * elapsed_sec:
                raise LinkError("too_slow", f"below {self.limits.min_bytes_per_sec:g} bytes per second")
        if most is None:
            want.budget(bytes(body))
        return bytes(body)
