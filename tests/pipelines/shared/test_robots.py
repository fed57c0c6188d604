"""robots.txt by RFC 9309: what each answer means, and that each origin is asked once."""

import asyncio
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from protego import Protego
from yarl import URL

from pipelines.shared.answers import FetchError
from pipelines.shared.reasons import LinkError
from pipelines.shared.robots import ROBOTS_BYTES, UNREAD, Robots, own_rules
from tests.pipelines.shared.robots_answers import allowed

RULES = b"User-agent: *\nDisallow: /private/\nAllow: /private/open\nDisallow: /*.zip$\n"


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


@pytest.mark.parametrize(
    "name",
    [
        *("Vignette", "vignette", "VIGNETTE/1.0", "Vignette/0.1.0 (+https://a.com)", "Vignette *", "vignette*"),
        *("Vignette bot", "Mozilla/5.0 (compatible; Vignette/1.0)"),
    ],
)
def test_our_name_in_every_spelling_is_us(name: str) -> None:
    assert not allowed(f"User-agent: {name}\nDisallow: /\nUser-agent: *\nDisallow:".encode())
    assert allowed(f"User-agent: *\nDisallow: /\n\nUser-agent: {name}\nDisallow:".encode())


@pytest.mark.parametrize(
    "name", ["Vignettes", "Vignette-Image", "my-vignette", "vign", "V", "otherbot", "", "bot*", "Vignette_x"]
)
def test_other_names_are_not(name: str) -> None:
    assert allowed(f"User-agent: {name}\nDisallow: /\n".encode())
    assert not allowed(f"User-agent: *\nDisallow: /\n\nUser-agent: {name}\nDisallow:".encode())


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("User-agent: a\nUser-agent: *\nDisallow: /x", ["Disallow: /x"]),
        (
            "User-agent: *\nDisallow: /x\nUser-agent: a\nDisallow: /y\nUser-agent: *\nAllow: /z",
            ["Disallow: /x", "Allow: /z"],
        ),
        ("User-agent: Us\nUser-agent: a\nDisallow: /x\nUser-agent: us/2\nAllow: /z", ["Disallow: /x", "Allow: /z"]),
        ("User-agent: *\nDisallow: /x\nUser-agent: us", []),
        ("Disallow: /x", []),
        ("User-agent: *\nSitemap: http://a.com/s\nHost: a.com\nUser-agent: a\nDisallow: /x", ["Disallow: /x"]),
        ("User-agent: *\nUnknown: x\nUser-agent: a\nDisallow: /x", ["Disallow: /x"]),
        ("user agent *\ndissallow /x # why\ncrawl delay 5", ["dissallow /x", "crawl delay 5"]),
        ("User-agent: * # all\nDisallow: /x", ["Disallow: /x"]),
        ("User-agent: *\nNoindex: /x\nDisallow: /y", ["Disallow: /y"]),
    ],
)
def test_groups_that_speak_to_us(text: str, lines: list[str]) -> None:
    assert own_rules(text, "us") == ["User-agent: *", *lines]


LINES = st.lists(
    st.sampled_from(
        [
            *(
                "User-agent: *",
                "User-agent: vignette",
                "User-agent: other",
                "Disallow: /a",
                "Allow: /a/b",
                "Disallow: /*.png$",
            ),
            *(
                "Disallow:",
                "",
                "# words",
                "Crawl-delay: 3",
                "Sitemap: /s",
                "Allow: /",
                "Disallow: /",
                "nonsense",
            ),
        ]
    ),
    max_size=12,
)


@settings(max_examples=300, deadline=None)
@given(LINES)
def test_the_rules_are_those_that_the_whole_file_gives(lines: list[str]) -> None:
    """Against Protego's own choice of groups."""
    whole = Protego.parse("\n".join(lines))
    ours = Protego.parse("\n".join(own_rules("\n".join(lines), "Vignette")))
    for path in ("/", "/a", "/a/b", "/x.png", "/x.png?y"):
        assert ours.can_fetch(f"http://a.com{path}", "Vignette") == whole.can_fetch(f"http://a.com{path}", "Vignette")
    assert ours.crawl_delay("Vignette") == whole.crawl_delay("Vignette")


def test_many_agents_times_many_rules_take_linear_time() -> None:
    """Parsed whole, 64 KiB of this take Protego some eight seconds and 250 MiB, and 512 KiB eight minutes."""
    agents = "".join(f"User-agent: agent{number}\n" for number in range(12_000))
    rules = "".join(f"Disallow: /{number}\n" for number in range(12_000))
    body = f"{agents}User-agent: *\n{rules}".encode()
    assert len(body) < ROBOTS_BYTES
    started = time.process_time()
    assert not allowed(body, "/7777.png") and allowed(body, "/x.png")
    assert time.process_time() - started < 10.0


def test_patterns_of_many_stars_take_linear_time() -> None:
    rule = "Disallow: /" + "*a" * 500 + "*b$\n"
    started = time.process_time()
    assert allowed(("User-agent: *\n" + rule * 100).encode(), "/" + "a" * 2000)
    assert time.process_time() - started < 10.0


def test_parsing_does_not_hold_the_event_loop() -> None:
    rules = "".join(f"Disallow: /{number}*x\n" for number in range(20_000))

    async def read(url: URL) -> bytes:
        return f"User-agent: *\n{rules}".encode()

    async def run() -> int:
        work = asyncio.ensure_future(Robots(read, "Vignette").check(URL("http://a.com/x")))
        ticks = 0
        while not work.done():
            await asyncio.sleep(0.001)
            ticks += 1
        return ticks

    assert asyncio.run(run()) >= 3


@pytest.mark.parametrize("reason", ["dns_error", "addr_refused"])
def test_a_host_without_an_address_of_the_web_says_so_itself(reason: str) -> None:
    async def refusal(final_url: str) -> str:
        async def read(url: URL) -> bytes:
            raise FetchError(reason, final_url=final_url)

        with pytest.raises(LinkError) as caught:
            await Robots(read, "Vignette").check(URL("http://a.com/x"))
        return caught.value.reason

    assert asyncio.run(refusal("http://a.com/robots.txt")) == reason
    assert asyncio.run(refusal("http://b.com/robots.txt")) == "robots_denied", "where it redirects to is another matter"
