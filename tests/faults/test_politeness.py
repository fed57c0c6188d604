"""Pauses that servers ask for, and one request at a time at each of many hosts."""

import dataclasses
import email.utils
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.shared.fetch import Response
from tests.pipelines.shared.fault_server import LIMITS, PNG, Exchange, FaultServer, media, remote

LONGEST_SEC, BACKOFF_SEC = 0.8, 0.05
YEAR_SEC = 365 * 24 * 3600
NOW = time.time()
SHORT, BACKOFF, LONG = "at once", "back-off", "the longest pause"
PAUSES = {
    "0": SHORT,
    "00": SHORT,
    "Sun, 06 Nov 1994 08:49:37 GMT": SHORT,
    "": BACKOFF,
    "soon": BACKOFF,
    "-1": BACKOFF,
    "1.5": BACKOFF,
    "1e9": BACKOFF,
    "0x10": BACKOFF,
    "5 seconds": BACKOFF,
    "Mon, 99 Foo 2030": BACKOFF,
    "1": LONG,
    "120": LONG,
    str(10 * YEAR_SEC): LONG,
    "9" * 400: LONG,
    email.utils.formatdate(NOW + 3600, usegmt=True): LONG,
    email.utils.formatdate(NOW + 10 * YEAR_SEC, usegmt=True): LONG,
}


@pytest.fixture
def server() -> Iterator[FaultServer]:
    server = FaultServer({})
    yield server
    server.close()


def host_of(head: str) -> str:
    return head.lower().partition("host: ")[2].partition(":")[0]


@pytest.mark.parametrize("status", ["429 Too Many Requests", "503 Busy"])
def test_retry_after_as_number_date_or_nonsense(server: FaultServer, tmp_path: Path, status: str) -> None:
    """A host for each value: it answers so once, and is right the second time."""
    hosts = {f"h{index}.com": value for index, value in enumerate(PAUSES)}
    seen: Counter[str] = Counter()

    async def once(x: Exchange) -> None:
        host = host_of(x.head)
        seen[host] += 1
        await (x.answer(status, b"", Retry_After=hosts[host]) if seen[host] == 1 else x.answer("200 OK", PNG))

    server.behaviours["/x.png"] = once
    limits = dataclasses.replace(
        LIMITS, max_retry_after_sec=LONGEST_SEC, backoff_sec=BACKOFF_SEC, idle_sec=5, deadline_sec=5
    )
    settings = dataclasses.replace(remote(server, tmp_path, delay_sec=0.0), limits=limits)
    found = media(settings, *(f"http://{host}:{server.port}/x.png" for host in hosts))
    assert all(isinstance(each, Response) for each in found)
    times = defaultdict(list)
    for path, head, moment in server.requests:
        if path == "/x.png":
            times[host_of(head)].append(moment)
    paused = {value: times[host][1] - times[host][0] for host, value in hosts.items()}
    least = {SHORT: 0.0, BACKOFF: 0.5 * BACKOFF_SEC, LONG: LONGEST_SEC}
    most = {SHORT: LONGEST_SEC - 0.1, BACKOFF: LONGEST_SEC - 0.1, LONG: 3 * LONGEST_SEC}
    for value, kind in PAUSES.items():
        assert least[kind] - 0.01 <= paused[value] <= most[kind], (
            f"{value!r} should be {kind}, was {paused[value]:.2f} s"
        )


def test_one_request_at_a_time_at_each_of_many_hosts(server: FaultServer, tmp_path: Path) -> None:
    """A host with very many links keeps nobody waiting, and no host ever has two requests under way."""
    under_way, most = Counter(), Counter()

    async def picture(x: Exchange) -> None:
        host = host_of(x.head)
        under_way[host] += 1
        most[host] = max(most[host], under_way[host])
        await x.answer("200 OK", PNG)
        under_way[host] -= 1

    server.behaviours["/x.png"] = picture
    hosts = [f"h{index}.com" for index in range(120)]
    limits = dataclasses.replace(LIMITS, idle_sec=20, deadline_sec=20, connect_sec=20)
    settings = dataclasses.replace(remote(server, tmp_path, delay_sec=0.01), limits=limits)
    urls = [f"http://big.com:{server.port}/x.png"] * 120 + [f"http://{host}:{server.port}/x.png" for host in hosts]
    begin = time.monotonic()
    found = media(settings, *urls)
    assert all(isinstance(each, Response) for each in found)
    assert set(most) == {"big.com", *hosts} and set(most.values()) == {1}
    big = [moment for _, head, moment in server.requests if host_of(head) == "big.com"]
    others = [moment for _, head, moment in server.requests if host_of(head) != "big.com"]
    assert all(moment - begin >= 0.01 * place - 0.001 for place, moment in enumerate(big)), "each behind the one before"
    assert max(others) < max(big), "the small hosts did not wait for the big one"
