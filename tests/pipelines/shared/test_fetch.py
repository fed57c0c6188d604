"""The fetcher against a server that does everything wrong, on raw sockets: each fault has a reason and a time bound."""

import asyncio
import dataclasses
import datetime
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pipelines.shared import names
from pipelines.shared.answers import FetchError
from pipelines.shared.fetch import WANT_ROBOTS, Fetcher, Response
from pipelines.shared.fetch_settings import FetchLimits, FetchSettings
from pipelines.shared.guard import Guard
from pipelines.shared.reasons import LinkError
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
from tests.pipelines.shared.faults import FAULTS, GOOD, loop_self, never, reset, told_to_wait


@pytest.fixture(scope="module")
def server() -> Iterator[FaultServer]:
    server = FaultServer({path: fault[0] for path, fault in FAULTS.items()} | GOOD)
    yield server
    server.close()


@pytest.fixture
def fresh() -> Iterator[FaultServer]:
    server = FaultServer(dict(GOOD))
    yield server
    server.close()


@pytest.mark.parametrize("path", sorted(FAULTS))
def test_fault(server: FaultServer, path: str) -> None:
    _, reason, most_sec = FAULTS[path]
    started = time.monotonic()
    (error,) = media(served(server), f"http://localhost{path}")
    elapsed_sec = time.monotonic() - started
    assert isinstance(error, LinkError) and error.reason == reason
    assert elapsed_sec < most_sec + 1.5, "the rest is for a busy machine"
    assert str(server.port) not in error.message, "a row must not depend on the port"


@pytest.mark.parametrize("path", ["/good", "/chunks", "/hop/4", "/flaky", "/wait", "/identity", "/other-robot"])
def test_good(server: FaultServer, path: str) -> None:
    (response,) = media(served(server), f"http://localhost{path}")
    assert isinstance(response, Response) and response.body == PNG
    assert response.final_url == "http://localhost" + ("/good" if path.startswith("/hop") else path)


def test_faults_at_the_same_time_keep_their_reasons(server: FaultServer) -> None:
    """No reason depends on what else is under way."""
    paths = [path for path, (_, reason, _) in FAULTS.items() if reason not in ("too_slow", "deadline")]
    found = media(served(server), *(f"http://localhost{path}" for path in paths))
    assert {path: error.reason for path, error in zip(paths, found, strict=True)} == {
        path: FAULTS[path][1] for path in paths
    }


AS_GIVEN = [
    "/x.png?response-content-type=image%2Fpng&signature=a%2Bb%3D",
    "/a%2Fb%3Ac%27d+e%20f%2b?g%3Dh&i=1&a=2",
    "/x?",
    "/100%.png?50%",
    "/x%2541?q=%252F'",
]


@pytest.mark.parametrize("target", AS_GIVEN)
def test_targets_are_sent_as_given(fresh: FaultServer, target: str) -> None:
    fresh.behaviours |= {target: fixed("200 OK"), "/away": fixed("302 Found", b"", Location=target)}
    direct, led = media(served(fresh), f"http://localhost{target}", "http://localhost/away")
    for response in (direct, led):
        assert isinstance(response, Response) and response.final_url == f"http://localhost{target}"
    assert fresh.count(target) == 2


def test_a_redirect_to_bytes_that_are_no_text_is_sent_as_bytes(fresh: FaultServer) -> None:
    async def away(x: Exchange) -> None:
        await x.send(b"HTTP/1.1 302 Found\r\nLocation: /caf\xe9 \xc3\xbc\r\nContent-Length: 0\r\n\r\n")

    fresh.behaviours |= {"/away": away, "/caf%E9%20%C3%BC": fixed("200 OK")}
    (response,) = media(served(fresh), "http://localhost/away")
    assert isinstance(response, Response)


def test_robots_txt_that_opts_itself_out_is_obeyed_all_the_same(fresh: FaultServer) -> None:
    body = b"User-agent: *\nDisallow: /private/"
    fresh.behaviours["/robots.txt"] = fixed("200 OK", body, X_Robots_Tag="noindex, noai", tdm_reservation="1")
    good, private = media(served(fresh), "http://localhost/good", "http://localhost/private/x.png")
    assert isinstance(good, Response) and isinstance(private, LinkError) and private.reason == "robots_denied"


def test_slow_names_do_not_cost_good_hosts_their_links(
    fresh: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many slow names as there may be requests, and slower than a request may take."""

    async def lookup(host: str) -> list[str]:
        if host.startswith("slow"):
            await asyncio.sleep(5.0)
        return ["127.0.0.1"]

    monkeypatch.setattr(names, "TIMEOUT_SEC", 0.5)
    limits = dataclasses.replace(LIMITS, connections=4, deadline_sec=0.4, connect_sec=0.4)
    settings = dataclasses.replace(remote(fresh, tmp_path, delay_sec=0.0), limits=limits)
    urls = [f"http://{kind}{number}.com:{fresh.port}/good" for kind in ("slow", "good") for number in range(8)]
    found = media(settings, *urls, lookup=lookup)
    assert [each.reason if isinstance(each, LinkError) else "" for each in found] == ["dns_error"] * 8 + [""] * 8


def test_errors_tell_status_and_url(server: FaultServer) -> None:
    gone, html, loop = media(served(server), *(f"http://localhost/{name}" for name in ("404", "html", "loop")))
    assert isinstance(gone, FetchError) and (gone.http_status, gone.final_url) == (404, "http://localhost/404")
    assert isinstance(html, FetchError) and html.http_status == 200
    assert isinstance(loop, FetchError) and loop.final_url == "http://localhost/loop"


def test_connections_are_kept_and_headers_are_honest(fresh: FaultServer) -> None:
    patient = dataclasses.replace(LIMITS, deadline_sec=60.0, idle_sec=60.0, connect_sec=60.0)
    settings = dataclasses.replace(served(fresh, contact="https://me.example/bot"), limits=patient)
    found = media(settings, *["http://localhost/good"] * 200)
    assert all(isinstance(each, Response) for each in found)
    assert fresh.num_connections <= 40
    head = fresh.requests[-1][1].lower()
    assert "user-agent: vignette/" in head and "(+https://me.example/bot)" in head
    assert "accept-encoding: identity" in head and "host: localhost\r\n" in head and "cookie" not in head


def test_retries_are_counted(fresh: FaultServer) -> None:
    fresh.behaviours |= {"/500": fixed("500 Oops"), "/404": fixed("404 Not Found")}
    media(served(fresh), "http://localhost/500", "http://localhost/404")
    assert fresh.count("/500") == 1 + LIMITS.retries
    assert fresh.count("/404") == 1


def test_robots_is_asked_first_and_once(fresh: FaultServer) -> None:
    media(served(fresh), *(f"http://localhost{path}" for path in ("/good", "/chunks", "/private/x.png")))
    assert fresh.requests[0][0] == "/robots.txt" and fresh.count("/robots.txt") == 1
    assert fresh.count("/private/x.png") == 0


@pytest.mark.parametrize(
    ("behaviour", "expected"),
    [
        (fixed("404 Not Found"), ""),
        (fixed("403 Forbidden"), ""),
        (fixed("500 Oops"), "robots_denied"),
        (fixed("429 Slow down", Retry_After="0"), "robots_denied"),
        (reset, "robots_denied"),
        (never, "robots_denied"),
        (loop_self, ""),
        (fixed("302 Found", b"", Location="http://10.0.0.1/robots.txt"), "robots_denied"),
        (fixed("200 OK", b"User-agent: *\nDisallow: /\n" + b"#" * (600 << 10)), "robots_denied"),
        (fixed("200 OK", b"User-agent: *\nAllow: /\n" + b"# x\n" * (150 << 10)), ""),
    ],
)
def test_robots_answers(fresh: FaultServer, behaviour: Behaviour, expected: str) -> None:
    fresh.behaviours["/robots.txt"] = behaviour
    (found,) = media(served(fresh), "http://localhost/good")
    assert (found.reason if isinstance(found, LinkError) else "") == expected


def test_one_request_at_a_time_and_apart(fresh: FaultServer, tmp_path: Path) -> None:
    settings = remote(fresh, tmp_path, requests_per_host=1, delay_sec=0.05)
    begin = time.monotonic()
    found = media(settings, *[f"http://a.com:{fresh.port}/good"] * 6)
    assert all(isinstance(each, Response) for each in found)
    times = [moment for path, _, moment in fresh.requests]
    assert len(times) == 7, "robots.txt takes a turn too"
    assert all(moment - begin >= 0.05 * place - 0.001 for place, moment in enumerate(times))


def test_retry_after_pauses_the_whole_host(fresh: FaultServer, tmp_path: Path) -> None:
    fresh.behaviours["/limited"] = told_to_wait
    urls = [f"http://a.com:{fresh.port}/{name}" for name in ("limited", "good", "good", "good")]
    found = media(remote(fresh, tmp_path, requests_per_host=1, delay_sec=0.01), *urls)
    assert all(isinstance(each, Response) for each in found)
    paths = [path for path, _, _ in fresh.requests]
    pause_at = paths.index("/limited")
    pause_sec = fresh.requests[pause_at + 1][2] - fresh.requests[pause_at][2]
    assert 0.28 < pause_sec < 1.0, "Retry-After: 1, cut to max_retry_after_sec = 0.3"


def test_hosts_run_side_by_side(fresh: FaultServer, tmp_path: Path) -> None:
    urls = [f"http://host-{index}.com:{fresh.port}/good" for index in range(20)]
    started = time.monotonic()
    found = media(remote(fresh, tmp_path, delay_sec=0.2), *urls)
    assert all(isinstance(each, Response) for each in found)
    assert time.monotonic() - started < 2.0, "twenty hosts in a row would take eight seconds"


def test_rebinding_gets_nowhere(fresh: FaultServer, tmp_path: Path) -> None:
    """A name that is public when first asked and private afterwards: the second answer gets no connection."""
    answers = iter([["192.0.2.7"], ["127.0.0.1"]])

    async def lookup(host: str) -> list[str]:
        return next(answers)

    async def run() -> str:
        guard = Guard(ports=frozenset({fresh.port}), allows=lambda address: str(address) == "192.0.2.7")
        limits = FetchLimits(connect_sec=0.1, retries=0, deadline_sec=0.3)
        settings = FetchSettings(limits=limits, guard=guard, pace_folder=tmp_path, delay_sec=0.0)
        async with Fetcher(settings, lookup) as fetcher:
            try:
                await fetcher.get_media(f"http://a.com:{fresh.port}/good")
            except LinkError as error:
                return error.reason
        return ""

    assert asyncio.run(run()) == "robots_denied"
    assert fresh.requests == [] and fresh.num_connections == 0


def test_pages(server: FaultServer) -> None:
    async def run() -> list[str]:
        reasons = []
        async with Fetcher(served(server)) as fetcher:
            page = await fetcher.get_page("http://localhost/page")
            assert page.body == b"<html>hello</html>" and page.content_type.startswith("text/html")
            for path in ("/text", "/good", "/404", "/endless-html", "/private/x.png"):
                with pytest.raises(LinkError) as caught:
                    await fetcher.get_page(f"http://localhost{path}")
                reasons.append(caught.value.reason)
        return reasons

    assert asyncio.run(run()) == ["type_refused", "type_refused", "http_404", "body_limit", "robots_denied"]


def test_a_content_type_that_is_no_text_costs_nothing(fresh: FaultServer) -> None:
    async def odd(x: Exchange) -> None:
        await x.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=\xff\r\nContent-Length: 3\r\n\r\n<p>")

    fresh.behaviours["/odd"] = odd

    async def run() -> str:
        async with Fetcher(served(fresh)) as fetcher:
            return (await fetcher.get_page("http://localhost/odd")).content_type

    assert asyncio.run(run()) == "text/html; charset=?"


def test_nothing_listens(tmp_path: Path) -> None:
    (error,) = media(FetchSettings(limits=LIMITS, guard=Guard(served_port=1)), "http://localhost/x.png")
    assert isinstance(error, LinkError) and error.reason == "robots_denied"


@pytest.fixture
def self_signed(tmp_path: Path) -> ssl.SSLContext:
    """A server's TLS context with a certificate for a.com that nobody vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a.com")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("a.com")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "both.pem").write_bytes(private + certificate.public_bytes(encoding))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "both.pem")
    return context


def test_certificates_are_checked(self_signed: ssl.SSLContext, tmp_path: Path) -> None:
    async def lookup(host: str) -> list[str]:
        return ["127.0.0.1"]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise AssertionError("no request may come through")

    async def run() -> str:
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=self_signed)
        port = server.sockets[0].getsockname()[1]
        guard = Guard(ports=frozenset({port}), allows=lambda address: True)
        async with Fetcher(FetchSettings(limits=LIMITS, guard=guard, pace_folder=tmp_path), lookup) as fetcher:
            with pytest.raises(LinkError) as caught:
                await fetcher.get(f"https://a.com:{port}/robots.txt", WANT_ROBOTS)
        server.close()
        return caught.value.reason

    assert asyncio.run(run()) == "tls_error"
