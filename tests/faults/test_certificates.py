"""TLS with a certificate authority of our own: what is wrong with a certificate or a version ends the connection."""

import asyncio
import contextlib
import datetime
import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pipelines.shared.fetch import WANT_ROBOTS, Fetcher
from pipelines.shared.fetch_settings import FetchSettings
from pipelines.shared.guard import Guard
from pipelines.shared.reasons import LinkError
from tests.pipelines.shared.fault_server import LIMITS

DAY = datetime.timedelta(days=1)
RULES = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\n# x"


class Authority:
    """Signs certificates; a file has those that are trusted."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self.folder, self.key = folder, ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        constraint = x509.BasicConstraints(ca=True, path_length=None)
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(self._sign(self.name, self.key, constraint, None, -DAY, DAY))

    def server(
        self, host: str, begin: datetime.timedelta = -DAY, end: datetime.timedelta = DAY, alone: bool = False
    ) -> ssl.SSLContext:
        """A server's context; `alone` for a certificate that vouches for itself."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
        names = x509.SubjectAlternativeName([x509.DNSName(host)])
        certificate = self._sign(name, key, names, key if alone else None, begin, end)
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (self.folder / "server.pem").write_bytes(private + certificate)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / "server.pem")
        return context

    def _sign(
        self,
        name: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        extension: x509.ExtensionType,
        own: ec.EllipticCurvePrivateKey | None,
        begin: datetime.timedelta,
        end: datetime.timedelta,
    ) -> bytes:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name if own else self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + begin)
            .not_valid_after(now + end)
            .add_extension(extension, critical=False)
        )
        return builder.sign(own or self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def version(context: ssl.SSLContext, name: ssl.TLSVersion) -> ssl.SSLContext:
    """The context of a server that speaks one version of TLS alone."""
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = name
    return context


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """An authority that is trusted beside those of the system; nothing else of aiohttp's own settings is changed."""
    authority = Authority(tmp_path)
    context = ssl.create_default_context()
    context.load_verify_locations(authority.file)
    monkeypatch.setattr(aiohttp.connector, "_SSL_CONTEXT_VERIFIED", context)
    return authority


class Server:
    """A server on blocking sockets, which tells its peer what is wrong with a handshake; asyncio's does not.

    Attributes:
        requests: Those that came through.
    """

    def __init__(self, context: ssl.SSLContext | None) -> None:
        """Without a context nobody answers."""
        self.context, self.requests = context, []
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.run, daemon=True).start()

    def run(self) -> None:
        kept = []
        with contextlib.suppress(OSError):
            while True:
                kept.append(self.socket.accept()[0])
                if self.context is not None:
                    self.answer(kept.pop(), self.context)

    def answer(self, connection: socket.socket, context: ssl.SSLContext) -> None:
        connection.settimeout(5)
        with contextlib.suppress(OSError), connection, context.wrap_socket(connection, server_side=True) as stream:
            if request := stream.recv(4096):
                self.requests.append(request)
                stream.sendall(RULES)


def reason(context: ssl.SSLContext | None, folder: Path) -> tuple[str, int]:
    """How the fetch of a robots.txt of a.com ends, and how many requests came through."""

    async def lookup(name: str) -> list[str]:
        return ["127.0.0.1"]

    async def run(port: int) -> str:
        guard = Guard(ports=frozenset({port}), allows=lambda address: True)
        async with Fetcher(FetchSettings(limits=LIMITS, guard=guard, pace_folder=folder / "pace"), lookup) as fetcher:
            try:
                await fetcher.get(f"https://a.com:{port}/robots.txt", WANT_ROBOTS)
            except LinkError as error:
                return error.reason
        return ""

    server = Server(context)
    try:
        return asyncio.run(run(server.port)), len(server.requests)
    finally:
        server.socket.close()


def test_a_good_certificate_passes(trusted: Authority, tmp_path: Path) -> None:
    assert reason(trusted.server("a.com"), tmp_path) == ("", 1)


@pytest.mark.parametrize(
    "make",
    [
        lambda authority: authority.server("a.com", -2 * DAY, -DAY / 24),
        lambda authority: authority.server("a.com", DAY / 24, DAY),
        lambda authority: authority.server("b.com"),
        lambda authority: authority.server("*.com"),
        lambda authority: authority.server("a.com.b.com"),
        lambda authority: authority.server("a.com", alone=True),
        lambda authority: Authority(authority.folder, "stranger").server("a.com"),
    ],
    ids=["expired", "not yet", "other host", "too wide", "longer host", "self-signed", "unknown authority"],
)
def test_a_wrong_certificate_is_refused(
    trusted: Authority, tmp_path: Path, make: Callable[[Authority], ssl.SSLContext]
) -> None:
    assert reason(make(trusted), tmp_path) == ("tls_error", 0), "no request comes through"


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (ssl.TLSVersion.TLSv1, ("tls_error", 0)),
        (ssl.TLSVersion.TLSv1_1, ("tls_error", 0)),
        (ssl.TLSVersion.TLSv1_2, ("", 1)),
        (ssl.TLSVersion.TLSv1_3, ("", 1)),
    ],
)
def test_old_versions_are_refused(
    trusted: Authority, tmp_path: Path, name: ssl.TLSVersion, expected: tuple[str, int]
) -> None:
    assert reason(version(trusted.server("a.com"), name), tmp_path) == expected


def test_a_handshake_that_nobody_answers_ends_in_time(tmp_path: Path) -> None:
    started = time.monotonic()
    assert reason(None, tmp_path)[0] == "connect_error"
    assert time.monotonic() - started < LIMITS.connect_sec * (1 + LIMITS.retries) + 2
