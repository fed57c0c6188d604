"""Conditional requests: what is unchanged is not sent again, and a 304 that nobody asked for is a failure."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.shared.answers import Held
from pipelines.shared.fetch import Fetcher, Response
from pipelines.shared.pages import PageStore
from pipelines.shared.reasons import LinkError
from tests.pipelines.shared.fault_server import PNG, Exchange, FaultServer, fixed, get_held, remote, served

ETAG, PAST = '"v1"', "Sun, 06 Nov 1994 08:49:37 GMT"


@pytest.fixture
def fresh() -> Iterator[FaultServer]:
    server = FaultServer({})
    yield server
    server.close()


async def conditional(x: Exchange) -> None:
    shown = f"If-None-Match: {ETAG}\r\n" in x.head
    await x.answer("304 Not Modified" if shown else "200 OK", b"" if shown else PNG, ETag=ETAG)


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
