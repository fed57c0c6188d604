"""Redirects between hosts: whose rules count, and how far they are followed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.shared.fetch import Response
from pipelines.shared.reasons import LinkError
from tests.pipelines.shared.fault_server import PNG, Behaviour, Exchange, FaultServer, fixed, media, remote

DENIES = fixed("200 OK", b"User-agent: *\nDisallow: /\n")


@pytest.fixture
def server() -> Iterator[FaultServer]:
    server = FaultServer({})
    yield server
    server.close()


def host_of(x: Exchange) -> str:
    return next(line.split(":")[1].strip() for line in x.head.splitlines() if line.lower().startswith("host:"))


def by_host(**behaviours: Behaviour) -> Behaviour:
    """Another behaviour for each `<name>.com`; others have none."""

    async def behave(x: Exchange) -> None:
        await behaviours.get(host_of(x).removesuffix(".com"), fixed("404 Not Found", b""))(x)

    return behave


def asked(server: FaultServer, path: str) -> list[str]:
    """Hosts that a path was asked of."""
    heads = [head for each, head, _ in server.requests if each == path]
    return [head.lower().partition("host: ")[2].partition(":")[0] for head in heads]


def reason(server: FaultServer, folder: Path, url: str) -> str:
    (found,) = media(remote(server, folder, delay_sec=0.0), url)
    return found.reason if isinstance(found, LinkError) else ""


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 Other", "307 Temporary", "308 Permanent"])
def test_the_rules_of_the_host_that_it_leads_to_count(server: FaultServer, tmp_path: Path, status: str) -> None:
    server.behaviours |= {
        "/robots.txt": by_host(strict=DENIES),
        "/x.png": by_host(
            open=fixed(status, b"", Location=f"http://strict.com:{server.port}/x.png"), strict=fixed("200 OK")
        ),
    }
    assert reason(server, tmp_path, f"http://open.com:{server.port}/x.png") == "robots_denied"
    assert asked(server, "/robots.txt") == ["open.com", "strict.com"] and asked(server, "/x.png") == ["open.com"]


def test_a_host_that_denies_is_not_even_asked_where_it_would_lead(server: FaultServer, tmp_path: Path) -> None:
    server.behaviours |= {"/robots.txt": by_host(strict=DENIES)}
    assert reason(server, tmp_path, f"http://strict.com:{server.port}/x.png") == "robots_denied"
    assert asked(server, "/x.png") == []


def test_rules_that_lie_elsewhere_are_those_of_the_host_that_was_asked(server: FaultServer, tmp_path: Path) -> None:
    """RFC 9309, 2.3.1.2: they count for the initial authority, and say nothing of where they lie."""
    server.behaviours |= {
        "/robots.txt": by_host(near=fixed("301 Moved", b"", Location=f"http://far.com:{server.port}/rules.txt")),
        "/rules.txt": by_host(far=DENIES),
        "/x.png": fixed("200 OK"),
    }
    assert reason(server, tmp_path, f"http://near.com:{server.port}/x.png") == "robots_denied"
    assert reason(server, tmp_path, f"http://far.com:{server.port}/x.png") == ""


@pytest.mark.parametrize(
    ("num_hops", "expected"), [(0, ""), (4, ""), (5, ""), (6, "redirect_limit"), (9, "redirect_limit")]
)
def test_five_redirects_are_followed_from_host_to_host(
    server: FaultServer, tmp_path: Path, num_hops: int, expected: str
) -> None:
    async def on(x: Exchange) -> None:
        number = int(host_of(x).removeprefix("h").removesuffix(".com"))
        target = f"http://h{number - 1}.com:{server.port}/x.png"
        await (x.answer("302 Found", b"", Location=target) if number else x.answer("200 OK", PNG))

    server.behaviours["/x.png"] = on
    assert reason(server, tmp_path, f"http://h{num_hops}.com:{server.port}/x.png") == expected
    followed = min(num_hops, 5) + 1
    assert len(asked(server, "/x.png")) == len(asked(server, "/robots.txt")) == followed, "each host has its say first"


def test_a_loop_of_two_hosts_ends(server: FaultServer, tmp_path: Path) -> None:
    one, two = (f"http://{name}.com:{server.port}/x.png" for name in ("one", "two"))
    server.behaviours["/x.png"] = by_host(
        one=fixed("302 Found", b"", Location=two), two=fixed("302 Found", b"", Location=one)
    )
    assert reason(server, tmp_path, one) == "redirect_limit"
    assert len(asked(server, "/x.png")) == 6 and len(asked(server, "/robots.txt")) == 2


def test_the_body_of_a_redirect_is_not_read(server: FaultServer, tmp_path: Path) -> None:
    async def endless(x: Exchange) -> None:
        await x.send(f"HTTP/1.1 302 Found\r\nLocation: http://two.com:{server.port}/y.png\r\n\r\n".encode())
        while True:
            await x.send(bytes(1000))

    server.behaviours |= {"/x.png": endless, "/y.png": fixed("200 OK")}
    (found,) = media(remote(server, tmp_path, delay_sec=0.0), f"http://one.com:{server.port}/x.png")
    assert isinstance(found, Response) and found.final_url == f"http://two.com:{server.port}/y.png"
