"""What reserves itself: the answer's row says by which signal, and nothing of its bytes is kept."""

import asyncio
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet
import pytest

from pipelines.shared.crawl_settings import CrawlSettings
from pipelines.shared.crawling import PLAN, CrawlShard
from pipelines.shared.html import read_page
from pipelines.shared.plan import write_links, write_plan
from pipelines.shared.records import Caption, Link
from tests.pipelines.crawl_site import still
from tests.pipelines.shared.fault_server import LIMITS, FaultServer, fixed, served

PICTURE = still(5)
SIGNALS = {
    "noai": {"X_Robots_Tag": "noai"},
    "noimageai": {"X_Robots_Tag": "max-image-preview:large, noimageai"},
    "noml": {"X_Robots_Tag": "noml"},
    "noindex": {"X_Robots_Tag": "otherbot: nofollow, noindex"},
    "noimageindex": {"X_Robots_Tag": "noimageindex;"},
    "none": {"X_Robots_Tag": "vignette: none"},
    "tdm-reservation": {"tdm_reservation": "1", "tdm_policy": "https://a.com/policy.json"},
    "content-usage": {"Content_Usage": "search=y, train-ai=n"},
}


@pytest.fixture
def server() -> Iterator[FaultServer]:
    server = FaultServer({"/free.png": fixed("200 OK", PICTURE)})
    server.behaviours |= {f"/{name}.png": fixed("200 OK", PICTURE, **headers) for name, headers in SIGNALS.items()}
    yield server
    server.close()


def test_a_signal_is_noted_and_the_bytes_are_dropped(server: FaultServer, tmp_path: Path) -> None:
    async def links():
        for name in ("free", *SIGNALS):
            yield Link(url=f"http://localhost/{name}.png", captions=(Caption(text="a text", origin="web"),))

    asyncio.run(write_links(links(), "toys", tmp_path / PLAN))
    write_plan(tmp_path / PLAN, 100, {})
    limits = dataclasses.replace(LIMITS, max_image_bytes=1 << 20)
    settings = dataclasses.replace(served(server), limits=limits)
    CrawlShard(source="toys", fetch=settings, settings=CrawlSettings())("00000", tmp_path)
    rows = {row["url"]: row for row in pyarrow.parquet.read_table(tmp_path / "00000.parquet").to_pylist()}
    assert rows.pop("http://localhost/free.png")["reason"] == ""
    found = {(row["optout"], row["reason"], row["status"], row["sha256"], row["num_bytes"]) for row in rows.values()}
    assert found == {(name, f"optout:{name}", "rejected", "", None) for name in SIGNALS}
    assert (tmp_path / "00000.tar").read_bytes().count(PICTURE) == 1, "the free one"


@pytest.mark.parametrize(
    ("head", "signal"),
    [
        ('<meta name="robots" content="noai">', "noai"),
        ('<meta name="ROBOTS" content="noindex, noimageai">', "noimageai"),
        ('<meta name="vignette" content="none">', "none"),
        ('<meta name="tdm-reservation" content="1">', "tdm-reservation"),
        ('<meta name="otherbot" content="noai">', ""),
        ('<meta name="tdm-reservation" content="0">', ""),
    ],
)
def test_a_page_reserves_its_pictures(head: str, signal: str) -> None:
    body = f"<html><head>{head}</head><body><img src=/x.png alt='a text'></body></html>".encode()
    page = read_page(body, "text/html", "http://a.com/", "web", "vignette")
    assert [link.optout for link in page.links] == [signal]
