"""robots.txt by RFC 9309: what each answer means, and that each origin is asked once."""

import asyncio

import pytest
from yarl import URL

from pipelines.shared.reasons import LinkError
from pipelines.shared.robots import ROBOTS_BYTES, UNREAD, Robots

RULES = b"User-agent: *\nDisallow: /private/\nAllow: /private/open\nDisallow: /*.zip$\n"


def allowed(answer: bytes | str, path: str = "/x.jpg") -> bool:
    """Whether a path may be fetched; an answer is a body or a reason why there is none."""

    async def read(url: URL) -> bytes:
        if isinstance(answer, str):
            raise LinkError(answer)
        return answer

    async def run() -> bool:
        try:
            await Robots(read, "Vignette").check(URL(f"http://a.com{path}"))
        except LinkError as error:
            assert error.reason == "robots_denied"
            return False
        return True

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", True),
        ("/private/", False),
        ("/private/a.jpg", False),
        ("/private/open", True),
        ("/private/open/a.jpg", True),
        ("/Private/a.jpg", True),
        ("/a.zip", False),
        ("/a.zip?x", True),
        ("/robots.txt", True),
    ],
)
def test_rules(path: str, expected: bool) -> None:
    assert allowed(RULES, path) is expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", True),
        (b"<html><body>Not here</body></html>", True),
        (b"\xff\xfe\x00\x01" * 20, True),
        (b"\xef\xbb\xbfUser-agent: *\nDisallow: /", False),
        (b"User-agent: *\r\nDisallow: /", False),
        (b"user-AGENT: vignette\nDISALLOW: /", False),
        (b"User-agent: otherbot\nDisallow: /", True),
        (b"User-agent: *\nDisallow: /\n\nUser-agent: Vignette\nDisallow:", True),
        (b"User-agent: *\nDisallow: /x\nAllow: /x", True),
        (b"User-agent: *\nDisallow: /x.jpg\nAllow: /x", False),
        (b"# " + b"x" * (2 << 20) + b"\nUser-agent: *\nDisallow: /", True),
        (b"User-agent: *\nDisallow: /\n" + b"# x\n" * ROBOTS_BYTES, False),
    ],
)
def test_bodies(body: bytes, expected: bool) -> None:
    assert allowed(body) is expected


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("http_401", True),
        ("http_403", True),
        ("http_404", True),
        ("http_410", True),
        ("redirect_limit", True),
        ("http_429", False),
        ("http_500", False),
        ("http_503", False),
        ("connect_error", False),
        ("tls_error", False),
        ("dns_error", False),
        ("addr_refused", False),
        ("deadline", False),
        ("truncated", False),
    ],
)
def test_no_answer(reason: str, expected: bool) -> None:
    assert allowed(reason) is expected


def test_crawl_delay() -> None:
    async def delay(seconds: str) -> float:
        async def read(url: URL) -> bytes:
            return f"User-agent: *\nCrawl-delay: {seconds}".encode()

        return await Robots(read, "Vignette").check(URL("http://a.com/x"))

    assert asyncio.run(delay("7")) == 7.0
    with pytest.raises(LinkError, match="robots_denied"):
        asyncio.run(delay("31"))


def test_each_origin_is_asked_once() -> None:
    asked = []

    async def read(url: URL) -> bytes:
        asked.append(str(url))
        await asyncio.sleep(0.01)
        return RULES

    async def run() -> None:
        robots = Robots(read, "Vignette")
        urls = [f"{origin}/{index}" for origin in ("http://a.com", "https://a.com", "http://b.com") for index in "123"]
        await asyncio.gather(*(robots.check(URL(url)) for url in urls))

    asyncio.run(run())
    assert sorted(asked) == ["http://a.com/robots.txt", "http://b.com/robots.txt", "https://a.com/robots.txt"]


@pytest.mark.parametrize(("answer", "is_unread"), [("http_503", True), ("dns_error", True), (b"*", False)])
def test_a_refusal_says_whether_rules_are_known(answer: bytes | str, is_unread: bool) -> None:
    async def read(url: URL) -> bytes:
        if isinstance(answer, str):
            raise LinkError(answer)
        return b"User-agent: *\nDisallow: /"

    with pytest.raises(LinkError) as refusal:
        asyncio.run(Robots(read, "Vignette").check(URL("http://a.com/x")))
    assert (refusal.value.message == UNREAD) is is_unread
