"""Looking names up: bounded in time and number, and no name's trouble is another's."""

import asyncio
import socket
import threading
import time
from collections.abc import Sequence

import pytest

from pipelines.shared import names
from pipelines.shared.names import Names
from pipelines.shared.reasons import LinkError


async def told(names: Names, host: str) -> str:
    try:
        return (await names.addresses(host))[0]
    except LinkError as error:
        return error.reason


def test_slow_names_delay_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """More slow names than there are threads, each slower than a lookup may take: good names wait, and are answered."""
    slow = threading.Event()

    def getaddrinfo(host: str) -> list[str]:
        if host.startswith("slow"):
            slow.wait(0.6)
        return ["8.8.8.8"]

    monkeypatch.setattr(names, "_getaddrinfo", getaddrinfo)
    monkeypatch.setattr(names, "TIMEOUT_SEC", 0.2)
    monkeypatch.setattr(names, "MOST_LOOKUPS", 16)

    async def run() -> tuple[list[str], list[str]]:
        asked = Names()
        slow_ones = asyncio.gather(*(told(asked, f"slow{number}.com") for number in range(40)))
        await asyncio.sleep(0)
        good = await asyncio.gather(*(told(asked, f"good{number}.com") for number in range(10)))
        slow.set()
        return await slow_ones, list(good)

    bad, good = asyncio.run(run())
    assert good == ["8.8.8.8"] * 10
    assert set(bad) <= {"dns_error", "8.8.8.8"} and bad.count("dns_error") >= 16


def test_threads_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    most, now, lock = 0, 0, threading.Lock()

    def getaddrinfo(host: str) -> list[str]:
        nonlocal most, now
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.01)
        with lock:
            now -= 1
        return ["8.8.8.8"]

    monkeypatch.setattr(names, "_getaddrinfo", getaddrinfo)
    monkeypatch.setattr(names, "MOST_LOOKUPS", 4)

    async def run() -> None:
        asked = Names()
        await asyncio.gather(*(told(asked, f"{number}.com") for number in range(40)))

    asyncio.run(run())
    assert 1 <= most <= 4


def test_a_name_is_asked_once_at_a_time_and_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    answers: dict[str, list[object]] = {
        "a.com": [["1.1.1.1"], ["2.2.2.2"]],
        "b.com": [socket.gaierror(8, "no"), ["3.3.3.3"]],
    }

    async def lookup(host: str) -> Sequence[str]:
        asked.append(host)
        await asyncio.sleep(0)
        answer = answers[host].pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def run() -> None:
        asked_names = Names(lookup)
        assert await asyncio.gather(*(told(asked_names, "a.com") for _ in range(3))) == ["1.1.1.1"] * 3
        assert await told(asked_names, "a.com") == "1.1.1.1" and asked == ["a.com"]
        assert [await told(asked_names, "b.com"), await told(asked_names, "b.com")] == ["dns_error", "3.3.3.3"]
        monkeypatch.setattr(names, "KEPT_SEC", 0.0)
        assert await told(asked_names, "a.com") == "2.2.2.2"

    asyncio.run(run())


@pytest.mark.parametrize("error", [socket.gaierror(8, "no"), UnicodeError("label"), OSError(1, "x")])
def test_system_errors(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def getaddrinfo(host: str) -> list[str]:
        raise error

    monkeypatch.setattr(names, "_getaddrinfo", getaddrinfo)

    async def run() -> str:
        return await told(Names(), "a.com")

    assert asyncio.run(run()) == "dns_error"


def test_the_system_knows_this_machine() -> None:
    async def run() -> str:
        return await told(Names(), "localhost")

    assert asyncio.run(run()) in ("127.0.0.1", "::1")
