"""One shard: every link becomes a row, rows do not depend on order, and a host in trouble is left alone."""

import asyncio
import errno
import json
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from pipelines.shared import crawling
from pipelines.shared.crawl_settings import CrawlSettings
from pipelines.shared.crawling import FACTS_SCHEMA, PLAN, SAMPLE_FACTS, CrawlShard, Spool, counted
from pipelines.shared.fetch import Response
from pipelines.shared.fetch_settings import FetchLimits, FetchSettings
from pipelines.shared.guard import Guard
from pipelines.shared.plan import write_links, write_plan
from pipelines.shared.reasons import LinkError
from pipelines.shared.records import Caption, Link
from pipelines.shared.serve import serving
from pipelines.shared.shards import FileInfo, read_shard
from tests.pipelines.crawl_site import still


def plan(scratch: Path, links: Sequence[Link]) -> None:
    async def stream() -> AsyncIterator[Link]:
        for each in links:
            yield each

    asyncio.run(write_links(stream(), "toys", scratch / PLAN))
    write_plan(scratch / PLAN, 1000, {})


def link(url: str, *texts: str, **more: str) -> Link:
    return Link(url=url, captions=tuple(Caption(text=text, origin="web") for text in texts), **more)


def crawl(scratch: Path, links: Sequence[Link], site: Path | None = None) -> tuple[dict[str, Any], list[dict]]:
    """The result of a shard, and its rows."""
    plan(scratch, links)
    with serving(site) as port:
        guard = Guard(served_port=port, only_served=True)
        fetch = FetchSettings(limits=FetchLimits(retries=0), guard=guard, pace_folder=scratch / "pace", delay_sec=0.0)
        result = CrawlShard(source="toys", fetch=fetch, settings=CrawlSettings())("00000", scratch)
    rows = pyarrow.parquet.read_table(scratch / "00000.parquet").to_pylist()
    return result, rows


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    folder.mkdir()
    for number in range(6):
        (folder / f"{number}.png").write_bytes(still(number))
    return folder


def test_successes_and_losses(tmp_path: Path, site: Path) -> None:
    links = [link(f"http://localhost/{number}.png", f"toy {number}", "again", page_url="p") for number in range(6)]
    links += [link("http://localhost/9.png", "gone"), link("http://localhost/0.png?x"), link("file:///x", "file")]
    links += [link("http://localhost/1.png?y", "reserved", optout="noai")]
    result, rows = crawl(tmp_path / "scratch", links, site)
    assert result["num_links"] == len(rows) == 10
    assert result["reasons"] == {"": 6, "http_404": 1, "no_caption": 1, "url_refused": 1, "optout:noai": 1}
    assert [row["key"] for row in rows] == sorted(row["key"] for row in rows)
    samples = list(read_shard(tmp_path / "scratch", FileInfo(**result["shard"])))
    good = {row["key"]: row for row in rows if row["status"] == "success"}
    assert [sample.key for sample in samples] == list(good)
    for sample in samples:
        row = good[sample.key]
        number = int(row["url"].split("/")[-1][0])
        assert sample.media == still(number) and (row["width"], row["height"]) == (40, 24 + number)
        assert sample.facts == {name: row[name] for name in SAMPLE_FACTS}
        assert [caption.text for caption in sample.captions] == [f"toy {number}", "again"]
    by_reason = {row["reason"]: row for row in rows}
    assert by_reason["http_404"]["status"] == "failed" and by_reason["http_404"]["http_status"] == 404
    assert by_reason["optout:noai"]["optout"] == "noai" and by_reason["optout:noai"]["status"] == "rejected"
    assert by_reason["no_caption"]["captions"] == [] and by_reason["no_caption"]["http_status"] is None
    assert pyarrow.parquet.read_schema(tmp_path / "scratch" / "00000.parquet").equals(FACTS_SCHEMA)


HOSTILE = [
    "http://xn--a.com/x.png",
    "http://[1:2:3]/x.png",
    "http://[2:1]/x.png",
    "http://a.com:+80/x.png",
    "http://a.com/half\ud800.png",
    "http://\udfff/x.png",
    "http://" + "a" * 300 + ".com/x.png",
    "http://a..com/x.png",
    "http://[::1",
    "http://",
    "//",
    "\x00",
    "data:,x",
    "http://a.com/" + "x" * 5000,
]


def test_no_spelling_of_a_link_ends_the_crawl(tmp_path: Path, site: Path) -> None:
    result, rows = crawl(tmp_path / "scratch", [link(url, "x") for url in HOSTILE], site)
    assert result["num_links"] == len(HOSTILE) and result["reasons"] == {"url_refused": len(HOSTILE)}
    assert pyarrow.parquet.read_table(tmp_path / "scratch" / "00000.parquet").num_rows == len(rows)


def test_served_names_that_no_file_has(tmp_path: Path, site: Path) -> None:
    urls = [
        "http://localhost/" + "x" * 300 + ".png",
        "http://localhost/" + "x" * 300 + ".tar/y.png",
        "http://localhost/%00.png",
    ]
    result, _ = crawl(tmp_path / "scratch", [link(url, "x") for url in urls], site)
    assert result["reasons"] == {"http_404": 3}


def test_nothing_but_losses_is_a_shard_too(tmp_path: Path) -> None:
    result, rows = crawl(tmp_path, [link("http://10.0.0.1/x.png", "x")])
    assert rows[0]["reason"] == "addr_refused" and result["shard"]["num_samples"] == 0
    assert list(read_shard(tmp_path, FileInfo(**result["shard"]))) == []


def test_damaged_bytes_keep_their_hash(tmp_path: Path, site: Path) -> None:
    (site / "0.png").write_bytes(still(0)[:-200])
    _, (row,) = crawl(tmp_path / "scratch", [link("http://localhost/0.png", "x")], site)
    assert (row["status"], row["reason"], row["http_status"]) == ("failed", "truncated", 200)
    assert len(row["sha256"]) == 64 and row["num_bytes"] == len(still(0)) - 200


class FakeFetcher:
    """Answers by URL after odd delays, in place of the real one."""

    def __init__(self, answers: dict[str, str], window: int, delays: dict[str, float]) -> None:
        self.answers, self.size, self.delays = answers, window, delays
        self.asked: list[str] = []

    def window(self, url: str) -> int:
        return self.size

    async def get_media(self, url: str) -> Response:
        self.asked.append(url)
        await asyncio.sleep(self.delays.get(url, 0.0))
        if self.answers[url]:
            raise LinkError(self.answers[url])
        return Response(final_url=url, body=still(1), content_type="")


def run_links(fetcher: FakeFetcher, tmp_path: Path) -> dict[str, str]:
    links = [(f"{index:020x}", link(url, "x")) for index, url in enumerate(fetcher.answers)]

    async def run() -> list[crawling.Outcome]:
        with (tmp_path / "spool").open("w+b") as handle, crawling.ThreadPoolExecutor(1) as decoder:
            sandbox = crawling.process_sandbox(60.0, 2048)
            work = crawling.LinkCrawl("toys", fetcher, CrawlSettings().media, Spool(handle), sandbox, decoder)
            return await work.run(links)

    outcomes = asyncio.run(run())
    assert [outcome.row["key"] for outcome in outcomes] == [key for key, _ in links]
    return {outcome.row["url"]: outcome.row["reason"] for outcome in outcomes}


def test_host_in_trouble_is_left_alone(tmp_path: Path) -> None:
    answers = {f"http://bad.com/{index}": "connect_error" for index in range(30)}
    answers |= {f"http://good.com/{index}": "" for index in range(5)}
    fetcher = FakeFetcher(answers, 1, {})
    found = run_links(fetcher, tmp_path)
    assert Counter(found.values()) == {"connect_error": 5 + 3, "host_suspended": 22, "": 5}
    assert sum("bad" in url for url in fetcher.asked) == 8, "five, and those already under way: the window is 4"


@pytest.mark.parametrize("reason", ["http_404", "type_refused", "no_caption", "robots_denied"])
def test_other_losses_are_no_trouble(tmp_path: Path, reason: str) -> None:
    fetcher = FakeFetcher({f"http://a.com/{index}": reason for index in range(20)}, 1, {})
    assert set(run_links(fetcher, tmp_path).values()) == {reason}


def test_answer_in_between_ends_the_row(tmp_path: Path) -> None:
    answers = {f"http://a.com/{index}": "" if index % 5 == 4 else "deadline" for index in range(25)}
    fetcher = FakeFetcher(answers, 1, {})
    assert run_links(fetcher, tmp_path) == answers


class RaisingFetcher(FakeFetcher):
    """Raises what nobody expects."""

    def __init__(self, error: BaseException) -> None:
        super().__init__({"http://a.com/bad": "", "http://b.com/good": ""}, 1, {})
        self.error = error

    async def get_media(self, url: str) -> Response:
        if url.endswith("bad"):
            raise self.error
        return await super().get_media(url)


@pytest.mark.parametrize("error", [ValueError("x"), UnicodeError("x"), IndexError(), AssertionError("x")])
def test_whatever_a_link_raises_becomes_its_row(tmp_path: Path, error: Exception) -> None:
    assert run_links(RaisingFetcher(error), tmp_path) == {"http://a.com/bad": "internal_error", "http://b.com/good": ""}


def test_trouble_of_the_machine_ends_the_shard(tmp_path: Path) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        run_links(RaisingFetcher(OSError(errno.ENOSPC, "no space left")), tmp_path)
    assert caught.group_contains(OSError, match="no space left")


def test_answers_that_take_too_long_to_decode_count_towards_their_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def examine_in(*_: Any) -> None:
        raise LinkError("decode_timeout")

    monkeypatch.setattr(crawling, "examine_in", examine_in)
    found = run_links(FakeFetcher({f"http://a.com/{index}": "" for index in range(20)}, 1, {}), tmp_path)
    assert Counter(found.values()) == {"decode_timeout": 5 + 3, "host_suspended": 12}


@pytest.mark.parametrize("window", [1, 3])
def test_suspension_does_not_depend_on_which_answer_comes_first(tmp_path: Path, window: int) -> None:
    """The same rows, whether late links answer early or the other way round."""
    answers = {f"http://a.com/{index}": "deadline" if index >= 6 else "" for index in range(40)}
    found = []
    for delays in ({}, {url: 0.02 for url in list(answers)[::2]}, {url: 0.02 for url in list(answers)[3:9]}):
        found.append(run_links(FakeFetcher(answers, window, delays), tmp_path))
    assert found[0] == found[1] == found[2]
    assert "host_suspended" in found[0].values()


def test_spool(tmp_path: Path) -> None:
    with (tmp_path / "spool").open("w+b") as handle:
        spool = Spool(handle)
        spans = [spool.put(bytes([index]) * index) for index in range(5)]
        assert [spool.get(span) for span in reversed(spans)] == [bytes([i]) * i for i in (4, 3, 2, 1, 0)]


def test_counted() -> None:
    results = [{"reasons": {"": 3, "http_404": 1}}, {"reasons": {"http_404": 2, "optout:noai": 1}}]
    assert counted(results, "failed") == {"http_404": 3} and counted(results, "rejected") == {"optout:noai": 1}
    assert json.dumps(counted(results, "success")) == '{"": 3}'
