"""Walking over a site."""

import asyncio
from pathlib import Path

import pytest

from pipelines.shared.fetch import Fetcher, Response
from pipelines.shared.fetch_settings import FetchLimits, FetchSettings
from pipelines.shared.guard import Guard
from pipelines.shared.html import Page
from pipelines.shared.records import Link
from pipelines.shared.sandbox import Sandbox
from pipelines.shared.serve import serving
from pipelines.sources import html_site
from pipelines.sources.html_site import Config, Source

PAGES = {
    "robots.txt": "User-agent: *\nDisallow: /shop/secret/",
    "index.html": '<a href="shop/">shop</a><img src="home.png" alt="home">',
    "shop/index.html": """<img src="a.png" alt="a"> <a href="two.html">2</a> <a href="deep/three.html">3</a>
        <a href="/index.html">home</a> <a href="secret/four.html">4</a> <a href="gone.html">5</a>
        <a href="https://other.example/shop/">o</a> <a href="//localhost:81/shop/x.html">p</a>""",
    "shop/two.html": '<img src="b.png" alt="b"><a href="./">1</a> <a href="deep/three.html#x">3</a>',
    "shop/deep/three.html": '<img src="/cdn/c.png" alt="c"><img src="https://other.example/d.png" alt="d">',
    "shop/secret/four.html": '<img src="e.png" alt="e">',
    "shop-two/index.html": '<img src="f.png" alt="f">',
}


@pytest.fixture
def site(tmp_path: Path) -> Path:
    for name, text in PAGES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def crawl(site: Path, **settings: object) -> tuple[list[Link], dict[str, int]]:
    async def run(port: int) -> tuple[list[Link], dict[str, int]]:
        fetch = FetchSettings(limits=FetchLimits(retries=0), guard=Guard(served_port=port, only_served=True))
        async with Fetcher(fetch) as fetcher:
            links = [link async for link in Source(Config(**settings)).links(fetcher)]
            return links, {reason: count for reason, count in fetcher.page_counts.items() if count}

    with serving(site) as port:
        return asyncio.run(run(port))


def test_breadth_first_below_the_start(site: Path) -> None:
    links, counts = crawl(site, start="shop/", origin="human")
    assert [link.url for link in links] == [
        "http://localhost/shop/a.png",
        "http://localhost/shop/b.png",
        "http://localhost/cdn/c.png",
        "https://other.example/d.png",
    ]
    assert links[1].page_url == "http://localhost/shop/two.html"
    assert {caption.origin for link in links for caption in link.captions} == {"human"}
    assert counts == {"fetched": 3, "http_404": 1, "robots_denied": 1}


def test_a_folder_of_the_same_beginning_is_another_one(site: Path) -> None:
    (site / "shop/index.html").write_text('<a href="/shop-two/">other</a>')
    links, counts = crawl(site, start="/shop/index.html")
    assert links == [] and counts == {"fetched": 1}


def test_whole_site(site: Path) -> None:
    assert {link.captions[0].text for link in crawl(site, start="")[0]} == {"home", "a", "b", "c", "d"}


@pytest.mark.parametrize(("most", "found", "over"), [(1, ["a"], 4), (2, ["a", "b"], 3), (3, ["a", "b", "c", "d"], 2)])
def test_max_pages_counts_what_it_leaves_out(site: Path, most: int, found: list[str], over: int) -> None:
    links, counts = crawl(site, start="shop/", max_pages=most)
    assert [link.captions[0].text for link in links] == found
    assert counts["over_max_pages"] == over


def test_more_pages_than_a_batch(site: Path) -> None:
    """Pages that fail must not end the walk while others wait."""
    names = [f"p{number}.html" for number in range(150)]
    (site / "shop/index.html").write_text("".join(f'<a href="{name}">x</a>' for name in names))
    for number, name in enumerate(names[100:]):
        (site / "shop" / name).write_text(f'<img src="{number}.png" alt="{number}">')
    links, counts = crawl(site, start="shop/")
    assert [link.captions[0].text for link in links] == [str(number) for number in range(50)]
    assert counts == {"fetched": 51, "http_404": 100}


def test_page_that_opts_out(site: Path) -> None:
    (site / "shop/two.html").write_text('<meta name="robots" content="noimageai"><img src="b.png" alt="b">')
    links, _ = crawl(site, start="shop/")
    assert [link.optout for link in links] == ["", "noimageai", "", ""]


@pytest.mark.parametrize("start", ["none/", "shop/secret/", "https://other.example/", "http://127.0.0.1/", "a.png"])
def test_start_that_cannot_be_read(site: Path, start: str) -> None:
    (site / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(50))
    with pytest.raises(ValueError, match=r"start page .* cannot be read"):
        crawl(site, start=start)


def test_config() -> None:
    with pytest.raises(ValueError, match="max_pages must be at least 1, got 0"):
        Config(start="x", max_pages=0)
    with pytest.raises(ValueError, match="origin must be one of web, human, synthetic, got 'people'"):
        Config(start="x", origin="people")
    assert Source(Config(start="x")).files() == ()


def test_what_is_left_out_is_counted(site: Path) -> None:
    (site / "shop/two.html").write_text("<img src='data:,'><img src=blank.gif data-src=b.png alt=b>")

    async def run(port: int) -> dict[str, int]:
        fetch = FetchSettings(limits=FetchLimits(retries=0), guard=Guard(served_port=port, only_served=True))
        async with Fetcher(fetch) as fetcher:
            assert len([link async for link in Source(Config(start="shop/")).links(fetcher)]) == 4
            return dict(fetcher.picture_counts)

    with serving(site) as port:
        assert asyncio.run(run(port)) == {"inline": 1, "stand_in": 1}


def test_no_spelling_of_an_address_ends_the_walk(site: Path) -> None:
    odd = [
        "http://xn--a.com/x",
        "http://[1:2:3]/",
        "http://[",
        "//[2:1]/x",
        "x" * 300 + ".html",
        "%00",
        "%zz",
        "http://a.com:+80/",
    ]
    links = "".join(f'<a href="{address}">x</a><img src="{address}" alt="x">' for address in odd)
    (site / "shop/index.html").write_text(links + '<a href="two.html">2</a><a href="h&#xd800;.html">3</a>')
    links, counts = crawl(site, start="shop/")
    assert [link.captions[0].text for link in links] == ["x"] * len(odd) + ["b", "c", "d"]
    assert counts["fetched"] == 3 and set(counts) <= {"fetched", "http_404"}


def test_whatever_a_page_raises_is_the_pages_own_loss(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = html_site.read_page_in

    def read_page_in(sandbox: Sandbox, body: bytes, **settings: str) -> Page:
        if settings["url"].endswith("two.html"):
            raise AssertionError("in the sandbox: IndexError")
        return real(sandbox, body, **settings)

    monkeypatch.setattr(html_site, "read_page_in", read_page_in)
    links, counts = crawl(site, start="shop/")
    assert "b" not in {link.captions[0].text for link in links} and counts["internal_error"] == 1


def test_order_does_not_depend_on_which_page_comes_first(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"p{number}.html" for number in range(40)]
    (site / "shop/index.html").write_text("".join(f'<a href="{name}">x</a>' for name in names))
    for number, name in enumerate(names):
        (site / "shop" / name).write_text(f'<img src="{number}.png" alt="{number}"><a href="q{number}.html">x</a>')
        (site / f"shop/q{number}.html").write_text(f'<img src="q{number}.png" alt="q{number}">')
    real = Fetcher.get_page

    async def get_page(self: Fetcher, url: str) -> Response:
        await asyncio.sleep(hash(url) % 7 / 500)
        return await real(self, url)

    monkeypatch.setattr(Fetcher, "get_page", get_page)
    links, _ = crawl(site, start="shop/")
    numbers = [str(number) for number in range(40)]
    assert [link.captions[0].text for link in links] == numbers + [f"q{number}" for number in numbers]
