"""What servers do wrong: directly, behind a redirect and as robots.txt; and a shard of which many links are faulty."""

import asyncio
import dataclasses
import time
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet
import pytest

from pipelines.shared.crawl_settings import CrawlSettings
from pipelines.shared.crawling import PLAN, CrawlShard
from pipelines.shared.fetch import Fetcher, Response
from pipelines.shared.fetch_settings import FetchSettings
from pipelines.shared.plan import write_links, write_plan
from pipelines.shared.reasons import LinkError, status_of
from pipelines.shared.records import Caption, Link
from pipelines.shared.shards import FileInfo, read_shard
from tests.faults.servers import MORE_FAULTS, MORE_GOOD, raw
from tests.pipelines.crawl_site import still
from tests.pipelines.shared.fault_server import (
    LIMITS,
    PNG,
    Behaviour,
    Exchange,
    FaultServer,
    fixed,
    media,
    remote,
    served,
)
from tests.pipelines.shared.faults import FAULTS, GOOD

REASONS = {path: fault[1] for path, fault in FAULTS.items()} | {path: fault[1] for path, fault in MORE_FAULTS.items()}
BEHAVIOURS = {path: fault[0] for path, fault in (*FAULTS.items(), *MORE_FAULTS.items())} | GOOD | MORE_GOOD
MOST_SEC = LIMITS.deadline_sec * (1 + LIMITS.retries) + 1.5  # the rest is for a busy machine
PATIENT = dataclasses.replace(LIMITS, deadline_sec=4.0, idle_sec=1.5, connect_sec=4.0)
BUSY = {path for path in REASONS if "endless" in path}  # they would starve what runs beside them


@pytest.fixture(scope="module")
def server() -> Iterator[FaultServer]:
    server = FaultServer(dict(BEHAVIOURS))
    yield server
    server.close()


def reason(found: Response | LinkError) -> str:
    return found.reason if isinstance(found, LinkError) else ""


def test_there_are_as_many_as_promised() -> None:
    assert len(REASONS) >= 120 and not set(FAULTS) & set(MORE_FAULTS)


@pytest.mark.parametrize("path", sorted(MORE_FAULTS))
def test_directly(server: FaultServer, path: str) -> None:
    started = time.monotonic()
    (found,) = media(served(server), f"http://localhost{path}")
    assert reason(found) == MORE_FAULTS[path][1]
    assert time.monotonic() - started < MOST_SEC
    assert isinstance(found, LinkError) and str(server.port) not in found.message, "a row must not depend on the port"


@pytest.mark.parametrize("path", sorted(MORE_GOOD))
def test_what_is_odd_but_right_is_taken(server: FaultServer, path: str) -> None:
    (found,) = media(served(server), f"http://localhost{path}")
    assert isinstance(found, Response) and found.body == PNG


def test_more_bytes_than_the_stated_length_are_never_taken(server: FaultServer) -> None:
    """Whether they are noticed depends on when they come."""
    server.behaviours["/more"] = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 208\r\n\r\n" + PNG + b"more")
    for found in media(served(server), *["http://localhost/more"] * 5):
        assert reason(found) == "protocol_error" or (isinstance(found, Response) and found.body == PNG)


def test_behind_a_redirect_from_another_host(server: FaultServer, tmp_path: Path) -> None:
    """The same reason as directly; a redirect more is one too many where five lead to it."""

    async def away(x: Exchange) -> None:
        await x.answer("302 Found", b"", Location=f"http://far.com:{server.port}{x.path.removeprefix('/away')}")

    here = {"/to-loopback"}  # this machine stands for the web
    expected = {path: why for path, why in REASONS.items() if path not in BUSY | here}
    server.behaviours |= {f"/away{path}": away for path in expected}
    settings = dataclasses.replace(remote(server, tmp_path, delay_sec=0.0, requests_per_host=64), limits=PATIENT)
    guard = dataclasses.replace(settings.guard, ports=frozenset({80, server.port}))  # so that only addresses are wrong
    settings = dataclasses.replace(settings, guard=guard)
    started = time.monotonic()
    found = media(settings, *(f"http://near.com:{server.port}/away{path}" for path in expected))
    assert dict(zip(expected, map(reason, found), strict=True)) == expected
    assert time.monotonic() - started < PATIENT.deadline_sec * (1 + PATIENT.retries) + 5


def rules_of(why: str) -> str:
    """What a robots.txt that is answered with a fault means for its host."""
    has_none = why in ("type_refused", "empty", "redirect_limit", "body_limit", "robots_denied")  # it is text to us
    has_none |= why.startswith("optout:")  # which is said of robots.txt and not of its host
    return "" if has_none or (why.startswith("http_4") and why != "http_429") else "robots_denied"


def test_as_robots_txt(tmp_path: Path) -> None:
    """A host for each fault: no rules where RFC 9309 says so, everything denied where none can be had."""
    expected = {path: rules_of(why) for path, why in REASONS.items() if path not in BUSY and path != "/lies-big"}
    hosts = {f"{path.strip('/').replace('/', '-')}.com": path for path in expected}

    async def rules(x: Exchange) -> None:
        host = next(line for line in x.head.splitlines() if line.lower().startswith("host:"))
        x.path = hosts[host.split(":")[1].strip()]
        await BEHAVIOURS[x.path](x)

    server = FaultServer(BEHAVIOURS | {"/robots.txt": rules})
    try:
        settings = dataclasses.replace(remote(server, tmp_path, delay_sec=0.0, requests_per_host=8), limits=PATIENT)
        found = media(settings, *(f"http://{host}:{server.port}/good" for host in hosts))
    finally:
        server.close()
    assert dict(zip(hosts.values(), map(reason, found), strict=True)) == expected
    assert {"", "robots_denied"} == set(expected.values())


def test_a_compressed_bomb_is_not_even_received(server: FaultServer) -> None:
    """20 MiB of zeros as 20 KB of gzip: neither inflated nor kept, for pictures and for pages."""

    async def run() -> list[str]:
        reasons = []
        async with Fetcher(served(server)) as fetcher:
            for get in (fetcher.get_media, fetcher.get_page):
                with pytest.raises(LinkError) as caught:
                    await get("http://localhost/encoding/bomb")
                reasons.append(caught.value.reason)
        return reasons

    tracemalloc.start()
    try:
        assert asyncio.run(run()) == ["content_encoding"] * 2
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def num_open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def crawl(scratch: Path, settings: FetchSettings, urls: list[str]) -> tuple[list[dict], int]:
    """The rows of a shard of links, and how many samples its tar holds."""

    async def links():
        for url in urls:
            yield Link(url=url, captions=(Caption(text="a text", origin="web"),))

    asyncio.run(write_links(links(), "toys", scratch / PLAN))
    write_plan(scratch / PLAN, 10_000, {})
    result = CrawlShard(source="toys", fetch=settings, settings=CrawlSettings())("00000", scratch)
    rows = pyarrow.parquet.read_table(scratch / "00000.parquet").to_pylist()
    return rows, len(list(read_shard(scratch, FileInfo(**result["shard"]))))


class AnyQuery(dict):
    """Behaviours by path, whatever stands behind its question mark."""

    def get(self, path: str, default: Behaviour | None = None) -> Behaviour | None:
        async def behave(x: Exchange) -> None:
            x.path = path.partition("?")[0]
            await super(AnyQuery, self).get(x.path, default)(x)

        return behave


@pytest.mark.parametrize(("num_good", "num_faulty"), [(240, 110), pytest.param(7000, 3000, marks=pytest.mark.slow)])
def test_of_many_links_none_is_lost_and_no_file_stays_open(tmp_path: Path, num_good: int, num_faulty: int) -> None:
    """Three of ten links are faulty: kept and lost add up to what went in, reason by reason."""
    picture = still(3)
    limits = dataclasses.replace(PATIENT, max_image_bytes=1 << 20, retries=0)
    kinds = [
        path for path, why in REASONS.items() if path not in BUSY and why not in ("too_slow", "deadline", "body_limit")
    ]
    faulty = [f"{kinds[index % len(kinds)]}?{index}" for index in range(num_faulty)]
    server = FaultServer(AnyQuery(BEHAVIOURS | {"/picture": fixed("200 OK", picture)}))
    try:
        before = num_open_files()
        paths = [*(f"/picture?{index}" for index in range(num_good)), *faulty]
        settings = dataclasses.replace(served(server), limits=limits)
        rows, num_samples = crawl(tmp_path, settings, [f"http://localhost{path}" for path in paths])
        after = num_open_files()
    finally:
        server.close()
    assert len(rows) == len(paths) == len({row["key"] for row in rows})
    assert Counter(status_of(row["reason"]) for row in rows)["success"] == num_samples == num_good
    lost = Counter(row["reason"] for row in rows if row["reason"])
    assert lost == Counter(REASONS[path.partition("?")[0]] for path in faulty)
    assert after - before <= 4, "pipes of the one decoder that stays"
