"""The fetcher against a server that does everything wrong, on raw sockets: each fault has a reason and a time bound."""

import asyncio
import dataclasses
import datetime
import ssl
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pipelines.shared.answers import FetchError, Held
from pipelines.shared.fetch import WANT_ROBOTS, Fetcher, Response
from pipelines.shared.fetch_settings import FetchLimits, FetchSettings
from pipelines.shared.guard import Guard
from pipelines.shared.pages import PageStore
from pipelines.shared.reasons import LinkError

PNG = b"\x89PNG\r\n\x1a\n" + bytes(200)
LIMITS = FetchLimits(
    deadline_sec=1.0,
    connect_sec=0.5,
    idle_sec=0.3,
    min_bytes_per_sec=1000.0,
    backoff_sec=0.01,
    max_retry_after_sec=0.3,
    max_image_bytes=10_000,
    max_clip_bytes=20_000,
    max_page_bytes=5_000,
)
Behaviour = Callable[["Exchange"], Awaitable[None]]


class Exchange:
    """One request and what is sent back."""

    def __init__(self, server: "FaultServer", path: str, head: str, writer: asyncio.StreamWriter) -> None:
        self.server, self.path, self.head, self.writer = server, path, head, writer
        self.is_open = False

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, status: str, body: bytes = b"", **headers: str) -> None:
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        await self.send("\r\n".join([*lines, "", ""]).encode() + body)
        self.is_open = True

    async def drip(self, data: bytes, pause_sec: float) -> None:
        for byte in data:
            await self.send(bytes([byte]))
            await asyncio.sleep(pause_sec)

    def reset(self) -> None:
        self.writer.transport.abort()


async def endless(x: Exchange) -> None:
    await x.send(b"HTTP/1.1 200 OK\r\n\r\n" + PNG)
    while True:
        await x.send(bytes(1000))
        await asyncio.sleep(0.001)


async def endless_html(x: Exchange) -> None:
    await x.send(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        await x.send(b"<p>" * 400)
        await asyncio.sleep(0.001)


async def endless_chunks(x: Exchange) -> None:
    await x.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (len(PNG), PNG))
    while True:
        await x.send(b"3e8\r\n" + bytes(1000) + b"\r\n")
        await asyncio.sleep(0.001)


async def slow(x: Exchange) -> None:
    await x.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n" + PNG[:64])
    await x.drip(bytes(9000), 0.02)


async def silent(x: Exchange) -> None:
    await x.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n" + PNG)
    await asyncio.sleep(30)


async def never(x: Exchange) -> None:
    await asyncio.sleep(30)


async def slow_head(x: Exchange) -> None:
    await x.drip(b"HTTP/1.1 200 OK\r\n" + b"X-Header: a\r\n" * 1000, 0.05)


async def huge_head(x: Exchange) -> None:
    await x.send(b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * (1 << 20) + b"\r\n\r\n")


async def endless_head(x: Exchange) -> None:
    await x.send(b"HTTP/1.1 200 OK\r\n")
    for number in range(100_000):
        await x.send(b"X-%d: a\r\n" % number)


async def short(x: Exchange) -> None:
    await x.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + PNG)


async def short_chunk(x: Exchange) -> None:
    await x.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfff\r\n" + PNG)


async def bad_chunk(x: Exchange) -> None:
    await x.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n" + PNG + b"\r\n0\r\n\r\n")


async def bad_chunk_later(x: Exchange) -> None:
    await x.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (len(PNG), PNG))
    await asyncio.sleep(0.1)
    await x.send(b"zzz\r\n" + PNG)


async def reset(x: Exchange) -> None:
    x.reset()


async def closed(x: Exchange) -> None:
    pass


async def two_lengths(x: Exchange) -> None:
    await x.send(b"HTTP/1.1 200 OK\r\nContent-Length: 208\r\nContent-Length: 9\r\n\r\n" + PNG)


async def negative_length(x: Exchange) -> None:
    await x.send(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n" + PNG)


async def not_http(x: Exchange) -> None:
    await x.send(b"220 mail.example ESMTP\r\n" + PNG)


async def big(x: Exchange) -> None:
    await x.answer("200 OK", PNG + bytes(10_000))


async def lies_big(x: Exchange) -> None:
    await x.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9000000000\r\n\r\n" + PNG)
    await asyncio.sleep(30)


async def loop_self(x: Exchange) -> None:
    await x.answer("302 Found", b"", Location=x.path)


async def hop(x: Exchange) -> None:
    number = int(x.path.rpartition("/")[2])
    await x.answer("301 Moved", b"", Location=f"/hop/{number - 1}" if number else "/good")


async def flaky(x: Exchange) -> None:
    if x.server.count(x.path) < 3:
        await x.answer("503 Busy")
    else:
        await x.answer("200 OK", PNG)


async def told_to_wait(x: Exchange) -> None:
    if x.server.count(x.path) < 2:
        await x.answer("429 Too Many Requests", b"", Retry_After="1")
    else:
        await x.answer("200 OK", PNG)


async def chunks(x: Exchange) -> None:
    await x.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for start in range(0, len(PNG), 50):
        part = PNG[start : start + 50]
        await x.send(b"%x\r\n%s\r\n" % (len(part), part))
    await x.send(b"0\r\n\r\n")


def fixed(status: str, body: bytes = PNG, **headers: str) -> Behaviour:
    async def behave(x: Exchange) -> None:
        await x.answer(status, body, **headers)

    return behave


FAULTS: dict[str, tuple[Behaviour, str, float]] = {
    "/endless": (endless, "body_limit", 0.5),
    "/endless-html": (endless_html, "type_refused", 0.5),
    "/endless-chunks": (endless_chunks, "body_limit", 0.5),
    "/big": (big, "body_limit", 0.5),
    "/lies-big": (lies_big, "body_limit", 0.5),
    "/slow": (slow, "too_slow", 0.7),
    "/silent": (silent, "too_slow", 0.7),
    "/never": (never, "too_slow", 0.7),
    "/slow-head": (slow_head, "deadline", 1.5),
    "/huge-head": (huge_head, "protocol_error", 0.5),
    "/endless-head": (endless_head, "protocol_error", 1.0),
    "/short": (short, "truncated", 0.5),
    "/short-chunk": (short_chunk, "truncated", 0.5),
    "/bad-chunk": (bad_chunk, "protocol_error", 0.5),
    "/bad-chunk-later": (bad_chunk_later, "deadline", 1.5),  # aiohttp waits for more
    "/reset": (reset, "connect_error", 0.5),
    "/closed": (closed, "connect_error", 0.5),
    "/two-lengths": (two_lengths, "protocol_error", 0.5),
    "/negative-length": (negative_length, "protocol_error", 0.5),
    "/not-http": (not_http, "protocol_error", 0.5),
    "/404": (fixed("404 Not Found"), "http_404", 0.5),
    "/410": (fixed("410 Gone"), "http_410", 0.5),
    "/403": (fixed("403 Forbidden"), "http_403", 0.5),
    "/500": (fixed("500 Oops"), "http_500", 0.5),
    "/503": (fixed("503 Busy", Retry_After="0"), "http_503", 0.5),
    "/429": (fixed("429 Slow down", Retry_After="99999"), "http_429", 1.5),
    "/408": (fixed("408 Timeout", Retry_After="soon"), "http_408", 0.5),
    "/204": (fixed("204 Empty", b""), "http_204", 0.5),
    "/206": (fixed("206 Part"), "http_206", 0.5),
    "/empty": (fixed("200 OK", b""), "empty", 0.5),
    "/html": (fixed("200 OK", b"<html>429 slow down</html>", Content_Type="image/png"), "type_refused", 0.5),
    "/svg": (fixed("200 OK", b"<svg xmlns='http://www.w3.org/2000/svg'/>"), "type_refused", 0.5),
    "/eps": (fixed("200 OK", b"%!PS-Adobe-3.0 EPSF-3.0\n" + bytes(50)), "type_refused", 0.5),
    "/playlist": (fixed("200 OK", b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n"), "type_refused", 0.5),
    "/tiff": (fixed("200 OK", b"II*\x00" + bytes(50)), "type_refused", 0.5),
    "/zip": (fixed("200 OK", b"PK\x03\x04" + bytes(50)), "type_refused", 0.5),
    "/avif": (fixed("200 OK", b"\x00\x00\x00\x1cftypavif" + bytes(50)), "type_refused", 0.5),
    "/gzip": (fixed("200 OK", Content_Encoding="gzip"), "content_encoding", 0.5),
    "/br": (fixed("200 OK", Content_Encoding="br"), "content_encoding", 0.5),
    "/chain": (fixed("200 OK", Content_Encoding=", ".join(["gzip"] * 20)), "content_encoding", 0.5),
    "/noai": (fixed("200 OK", X_Robots_Tag="max-snippet:-1, noai"), "optout:noai", 0.5),
    "/noimageai": (fixed("200 OK", X_Robots_Tag="noimageai"), "optout:noimageai", 0.5),
    "/tdm": (fixed("200 OK", tdm_reservation="1"), "optout:tdm-reservation", 0.5),
    "/usage": (fixed("200 OK", Content_Usage="train-ai=n"), "optout:content-usage", 0.5),
    "/loop": (loop_self, "redirect_limit", 0.5),
    "/hop/6": (hop, "redirect_limit", 0.5),
    "/no-target": (fixed("302 Found", b""), "redirect_limit", 0.5),
    "/to-loopback": (fixed("302 Found", b"", Location="http://127.0.0.1/x.png"), "addr_refused", 0.5),
    "/to-metadata": (fixed("302 Found", b"", Location="http://169.254.169.254/latest"), "addr_refused", 0.5),
    "/to-private": (fixed("307 Moved", b"", Location="//10.0.0.1/x.png"), "addr_refused", 0.5),
    "/to-file": (fixed("302 Found", b"", Location="file:///etc/passwd"), "url_refused", 0.5),
    "/to-port": (fixed("302 Found", b"", Location="http://a.com:22/"), "url_refused", 0.5),
    "/to-junk": (fixed("302 Found", b"", Location="http://[::1"), "url_refused", 0.5),
    "/to-long": (fixed("302 Found", b"", Location="/" + "x" * 4000), "url_refused", 0.5),
    "/to-disallowed": (fixed("302 Found", b"", Location="/private/x.png"), "robots_denied", 0.5),
    "/private/x.png": (fixed("200 OK"), "robots_denied", 0.5),
}
GOOD: dict[str, Behaviour] = {
    "/good": fixed("200 OK"),
    "/chunks": chunks,
    "/hop/4": hop,
    "/hop/3": hop,
    "/hop/2": hop,
    "/hop/1": hop,
    "/hop/0": hop,
    "/hop/5": hop,
    "/flaky": flaky,
    "/wait": told_to_wait,
    "/page": fixed("200 OK", b"<html>hello</html>", Content_Type="text/html; charset=utf-8"),
    "/text": fixed("200 OK", b"hello", Content_Type="text/plain"),
    "/robots.txt": fixed("200 OK", b"User-agent: *\nDisallow: /private/\n"),
    "/identity": fixed("200 OK", Content_Encoding="identity"),
    "/other-robot": fixed("200 OK", X_Robots_Tag="otherbot: noai"),
}


class FaultServer:
    """Serves behaviours by path in a thread of its own, and notes all requests."""

    def __init__(self, behaviours: dict[str, Behaviour]) -> None:
        self.behaviours = behaviours
        self.requests: list[tuple[str, str, float]] = []
        self.num_connections = 0
        self.ready = threading.Event()
        self.thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self.thread.start()
        assert self.ready.wait(10)

    async def _run(self) -> None:
        self.loop, self.stop = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self.ready.set()
        await self.stop.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.num_connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                path = head.split(" ")[1]
                self.requests.append((path, head, time.monotonic()))
                exchange = Exchange(self, path, head, writer)
                await self.behaviours.get(path, fixed("404 Not Found", b""))(exchange)
                if not exchange.is_open:
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    def count(self, path: str) -> int:
        return sum(each[0] == path for each in self.requests)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.stop.set)
        self.thread.join(5)


@pytest.fixture(scope="module")
def server() -> Iterator[FaultServer]:
    server = FaultServer({path: fault[0] for path, fault in FAULTS.items()} | GOOD)
    yield server
    server.close()


@pytest.fixture
def fresh() -> Iterator[FaultServer]:
    server = FaultServer(dict(GOOD))
    yield server
    server.close()


def media(settings: FetchSettings, *urls: str) -> list[Response | LinkError]:
    """What becomes of URLs, fetched at the same time by one fetcher whose names all mean this machine."""

    async def lookup(host: str) -> list[str]:
        return ["127.0.0.1"]

    async def one(fetcher: Fetcher, url: str) -> Response | LinkError:
        try:
            return await fetcher.get_media(url)
        except LinkError as error:
            return error

    async def run() -> list[Response | LinkError]:
        async with Fetcher(settings, lookup) as fetcher:
            return list(await asyncio.gather(*(one(fetcher, url) for url in urls)))

    return asyncio.run(run())


def served(server: FaultServer, **changes: object) -> FetchSettings:
    return FetchSettings(limits=LIMITS, guard=Guard(served_port=server.port), **changes)


def remote(server: FaultServer, folder: Path, **changes: object) -> FetchSettings:
    """Settings by which the server counts as any machine of the web."""
    guard = Guard(ports=frozenset({server.port}), allows=lambda address: str(address) == "127.0.0.1")
    return FetchSettings(limits=LIMITS, guard=guard, pace_folder=folder, **changes)


ETAG, PAST = '"v1"', "Sun, 06 Nov 1994 08:49:37 GMT"


async def conditional(x: Exchange) -> None:
    shown = f"If-None-Match: {ETAG}\r\n" in x.head
    await x.answer("304 Not Modified" if shown else "200 OK", b"" if shown else PNG, ETag=ETAG)


def get_held(settings: FetchSettings, url: str, held: Held) -> Response | LinkError:
    async def lookup(host: str) -> list[str]:
        return ["127.0.0.1"]

    async def run() -> Response | LinkError:
        async with Fetcher(settings, lookup) as fetcher:
            try:
                return await fetcher.get_media(url, held)
            except LinkError as error:
                return error

    return asyncio.run(run())


def test_an_unchanged_answer_is_not_sent_again(fresh: FaultServer, tmp_path: Path) -> None:
    fresh.behaviours |= {"/c": conditional, "/moved": fixed("302 Found", b"", Location="/c")}
    settings = remote(fresh, tmp_path, delay_sec=0.0)
    url = f"http://a.com:{fresh.port}/c"
    first = get_held(settings, url, Held())
    assert isinstance(first, Response) and (first.etag, first.is_unchanged, first.body) == (ETAG, False, PNG)
    held = Held(final_url=url, etag=ETAG)
    for asked in (url, f"http://a.com:{fresh.port}/moved"):
        again = get_held(settings, asked, held)
        assert isinstance(again, Response) and again.is_unchanged and not again.body
        assert (again.final_url, again.etag) == (url, ETAG)
    heads = [head for path, head, _ in fresh.requests if path == "/moved"]
    assert "If-None-Match" not in heads[0], "another URL's validators are not shown to a redirect"
    changed = get_held(settings, url, Held(final_url=url, etag='"v0"'))
    assert isinstance(changed, Response) and changed.body == PNG


def test_304_that_nobody_asked_for_is_a_failure(fresh: FaultServer, tmp_path: Path) -> None:
    fresh.behaviours["/c"] = fixed("304 Not Modified", b"")
    url = f"http://a.com:{fresh.port}/c"
    for held in (Held(), Held(final_url="http://a.com/other", etag=ETAG)):
        error = get_held(remote(fresh, tmp_path, delay_sec=0.0), url, held)
        assert isinstance(error, LinkError) and error.reason == "http_304"


def test_304_that_opts_out(fresh: FaultServer, tmp_path: Path) -> None:
    fresh.behaviours["/c"] = fixed("304 Not Modified", b"", X_Robots_Tag="noai")
    url = f"http://a.com:{fresh.port}/c"
    error = get_held(remote(fresh, tmp_path, delay_sec=0.0), url, Held(final_url=url, etag=ETAG))
    assert isinstance(error, LinkError) and error.reason == "optout:noai"


def test_the_served_site_has_no_validators(fresh: FaultServer) -> None:
    """They depend on times of files, on which no row may depend."""
    fresh.behaviours["/c"] = conditional
    held = Held(final_url="http://localhost/c", etag=ETAG)
    answer = get_held(served(fresh), "http://localhost/c", held)
    assert isinstance(answer, Response) and (answer.etag, answer.last_modified, answer.body) == ("", "", PNG)
    assert "If-None-Match" not in fresh.requests[-1][1]


def test_pages_are_asked_conditionally(fresh: FaultServer, tmp_path: Path) -> None:
    url = f"http://a.com:{fresh.port}/p"

    async def page(x: Exchange) -> None:
        shown = f"If-Modified-Since: {PAST}\r\n" in x.head
        headers = {"Last_Modified": PAST, "Date": "Mon, 18 Mar 2030 17:47:40 GMT", "Content_Type": "text/html"}
        await x.answer("304 Not Modified" if shown else "200 OK", b"" if shown else b"<p>text</p>", **headers)

    fresh.behaviours["/p"] = page

    async def lookup(host: str) -> list[str]:
        return ["127.0.0.1"]

    async def run() -> list[Response]:
        settings = remote(fresh, tmp_path / "pace", delay_sec=0.0)
        async with Fetcher(settings, lookup, PageStore(tmp_path / "pages")) as fetcher:
            return [await fetcher.get_page(url) for _ in range(2)]

    for found in (asyncio.run(run()), asyncio.run(run())):
        assert [(each.body, each.content_type, each.final_url) for each in found] == [
            (b"<p>text</p>", "text/html", url)
        ] * 2
    assert sum("If-Modified-Since" in head for path, head, _ in fresh.requests if path == "/p") == 3


@pytest.mark.parametrize("path", sorted(FAULTS))
def test_fault(server: FaultServer, path: str) -> None:
    _, reason, most_sec = FAULTS[path]
    started = time.monotonic()
    (error,) = media(served(server), f"http://localhost{path}")
    elapsed_sec = time.monotonic() - started
    assert isinstance(error, LinkError) and error.reason == reason
    assert elapsed_sec < most_sec + 1.5, "the rest is for a busy machine"
    assert str(server.port) not in error.message, "a row must not depend on the port"


@pytest.mark.parametrize("path", ["/good", "/chunks", "/hop/4", "/flaky", "/wait", "/identity", "/other-robot"])
def test_good(server: FaultServer, path: str) -> None:
    (response,) = media(served(server), f"http://localhost{path}")
    assert isinstance(response, Response) and response.body == PNG
    assert response.final_url == "http://localhost" + ("/good" if path.startswith("/hop") else path)


def test_faults_at_the_same_time_keep_their_reasons(server: FaultServer) -> None:
    """No reason depends on what else is under way."""
    paths = [path for path, (_, reason, _) in FAULTS.items() if reason not in ("too_slow", "deadline")]
    found = media(served(server), *(f"http://localhost{path}" for path in paths))
    assert {path: error.reason for path, error in zip(paths, found, strict=True)} == {
        path: FAULTS[path][1] for path in paths
    }


def test_errors_tell_status_and_url(server: FaultServer) -> None:
    gone, html, loop = media(served(server), *(f"http://localhost/{name}" for name in ("404", "html", "loop")))
    assert isinstance(gone, FetchError) and (gone.http_status, gone.final_url) == (404, "http://localhost/404")
    assert isinstance(html, FetchError) and html.http_status == 200
    assert isinstance(loop, FetchError) and loop.final_url == "http://localhost/loop"


def test_connections_are_kept_and_headers_are_honest(fresh: FaultServer) -> None:
    patient = dataclasses.replace(LIMITS, deadline_sec=60.0, idle_sec=60.0, connect_sec=60.0)
    settings = dataclasses.replace(served(fresh, contact="https://me.example/bot"), limits=patient)
    found = media(settings, *["http://localhost/good"] * 200)
    assert all(isinstance(each, Response) for each in found)
    assert fresh.num_connections <= 40
    head = fresh.requests[-1][1].lower()
    assert "user-agent: vignette/" in head and "(+https://me.example/bot)" in head
    assert "accept-encoding: identity" in head and "host: localhost\r\n" in head and "cookie" not in head


def test_retries_are_counted(fresh: FaultServer) -> None:
    fresh.behaviours |= {"/500": fixed("500 Oops"), "/404": fixed("404 Not Found")}
    media(served(fresh), "http://localhost/500", "http://localhost/404")
    assert fresh.count("/500") == 1 + LIMITS.retries
    assert fresh.count("/404") == 1


def test_robots_is_asked_first_and_once(fresh: FaultServer) -> None:
    media(served(fresh), *(f"http://localhost{path}" for path in ("/good", "/chunks", "/private/x.png")))
    assert fresh.requests[0][0] == "/robots.txt" and fresh.count("/robots.txt") == 1
    assert fresh.count("/private/x.png") == 0


@pytest.mark.parametrize(
    ("behaviour", "expected"),
    [
        (fixed("404 Not Found"), ""),
        (fixed("403 Forbidden"), ""),
        (fixed("500 Oops"), "robots_denied"),
        (fixed("429 Slow down", Retry_After="0"), "robots_denied"),
        (reset, "robots_denied"),
        (never, "robots_denied"),
        (loop_self, ""),
        (fixed("302 Found", b"", Location="http://10.0.0.1/robots.txt"), "robots_denied"),
        (fixed("200 OK", b"User-agent: *\nDisallow: /\n" + b"#" * (600 << 10)), "robots_denied"),
        (fixed("200 OK", b"User-agent: *\nAllow: /\n" + b"# x\n" * (150 << 10)), ""),
    ],
)
def test_robots_answers(fresh: FaultServer, behaviour: Behaviour, expected: str) -> None:
    fresh.behaviours["/robots.txt"] = behaviour
    (found,) = media(served(fresh), "http://localhost/good")
    assert (found.reason if isinstance(found, LinkError) else "") == expected


def test_one_request_at_a_time_and_apart(fresh: FaultServer, tmp_path: Path) -> None:
    settings = remote(fresh, tmp_path, requests_per_host=1, delay_sec=0.05)
    begin = time.monotonic()
    found = media(settings, *[f"http://a.com:{fresh.port}/good"] * 6)
    assert all(isinstance(each, Response) for each in found)
    times = [moment for path, _, moment in fresh.requests]
    assert len(times) == 7, "robots.txt takes a turn too"
    assert all(moment - begin >= 0.05 * place - 0.001 for place, moment in enumerate(times))


def test_retry_after_pauses_the_whole_host(fresh: FaultServer, tmp_path: Path) -> None:
    fresh.behaviours["/limited"] = told_to_wait
    urls = [f"http://a.com:{fresh.port}/{name}" for name in ("limited", "good", "good", "good")]
    found = media(remote(fresh, tmp_path, requests_per_host=1, delay_sec=0.01), *urls)
    assert all(isinstance(each, Response) for each in found)
    paths = [path for path, _, _ in fresh.requests]
    pause_at = paths.index("/limited")
    pause_sec = fresh.requests[pause_at + 1][2] - fresh.requests[pause_at][2]
    assert 0.28 < pause_sec < 1.0, "Retry-After: 1, cut to max_retry_after_sec = 0.3"


def test_hosts_run_side_by_side(fresh: FaultServer, tmp_path: Path) -> None:
    urls = [f"http://host-{index}.com:{fresh.port}/good" for index in range(20)]
    started = time.monotonic()
    found = media(remote(fresh, tmp_path, delay_sec=0.2), *urls)
    assert all(isinstance(each, Response) for each in found)
    assert time.monotonic() - started < 2.0, "twenty hosts in a row would take eight seconds"


def test_rebinding_gets_nowhere(fresh: FaultServer, tmp_path: Path) -> None:
    """A name that is public when first asked and private afterwards: the second answer gets no connection."""
    answers = iter([["192.0.2.7"], ["127.0.0.1"]])

    async def lookup(host: str) -> list[str]:
        return next(answers)

    async def run() -> str:
        guard = Guard(ports=frozenset({fresh.port}), allows=lambda address: str(address) == "192.0.2.7")
        limits = FetchLimits(connect_sec=0.1, retries=0, deadline_sec=0.3)
        settings = FetchSettings(limits=limits, guard=guard, pace_folder=tmp_path, delay_sec=0.0)
        async with Fetcher(settings, lookup) as fetcher:
            try:
                await fetcher.get_media(f"http://a.com:{fresh.port}/good")
            except LinkError as error:
                return error.reason
        return ""

    assert asyncio.run(run()) == "robots_denied"
    assert fresh.requests == [] and fresh.num_connections == 0


def test_pages(server: FaultServer) -> None:
    async def run() -> list[str]:
        reasons = []
        async with Fetcher(served(server)) as fetcher:
            page = await fetcher.get_page("http://localhost/page")
            assert page.body == b"<html>hello</html>" and page.content_type.startswith("text/html")
            for path in ("/text", "/good", "/404", "/endless-html", "/private/x.png"):
                with pytest.raises(LinkError) as caught:
                    await fetcher.get_page(f"http://localhost{path}")
                reasons.append(caught.value.reason)
        return reasons

    assert asyncio.run(run()) == ["type_refused", "type_refused", "http_404", "body_limit", "robots_denied"]


def test_nothing_listens(tmp_path: Path) -> None:
    (error,) = media(FetchSettings(limits=LIMITS, guard=Guard(served_port=1)), "http://localhost/x.png")
    assert isinstance(error, LinkError) and error.reason == "robots_denied"


@pytest.fixture
def self_signed(tmp_path: Path) -> ssl.SSLContext:
    """A server's TLS context with a certificate for a.com that nobody vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a.com")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("a.com")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "both.pem").write_bytes(private + certificate.public_bytes(encoding))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "both.pem")
    return context


def test_certificates_are_checked(self_signed: ssl.SSLContext, tmp_path: Path) -> None:
    async def lookup(host: str) -> list[str]:
        return ["127.0.0.1"]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise AssertionError("no request may come through")

    async def run() -> str:
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=self_signed)
        port = server.sockets[0].getsockname()[1]
        guard = Guard(ports=frozenset({port}), allows=lambda address: True)
        async with Fetcher(FetchSettings(limits=LIMITS, guard=guard, pace_folder=tmp_path), lookup) as fetcher:
            with pytest.raises(LinkError) as caught:
                await fetcher.get(f"https://a.com:{port}/robots.txt", WANT_ROBOTS)
        server.close()
        return caught.value.reason

    assert asyncio.run(run()) == "tls_error"
