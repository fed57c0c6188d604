"""Which URLs and addresses may be reached: one form of URL, and public addresses only.

Every hop goes through here: links, redirects and robots.txt. A URL is parsed once, by the parser that also connects
(yarl), so that no second reading of it exists. Names are resolved by `GuardedResolver`, which looks at all answers; the
connection is made to the answers that were looked at, so a name cannot change between check and use (DNS rebinding).

`ipaddress.is_global` alone is not enough: it takes multicast, 6to4, NAT64 and compatible forms of private addresses for
public. The site that a stage serves itself has the name `http://localhost/` in keys and rows, whatever its port;
`Guard.target` maps exactly that origin to exactly that server, and every other local address is refused.
"""

import asyncio
import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from pipelines.shared.reasons import LinkError

SERVED_HOST = "localhost"
SERVED_ORIGIN = f"http://{SERVED_HOST}"
LOOPBACK = "127.0.0.1"
MAX_URL_CHARS = 2083
PLAIN_URL = re.compile(r"(?i)https?://(?P<authority>[^/?#@%\\\s]+)(?:[/?#][^\\\x00-\x1f\x7f-\x9f]*)?")
HOST = re.compile(r"[a-z0-9._-]+")
ENDS_IN_NUMBER = re.compile(r"(?:.*\.)?(?:0x[0-9a-f]*|[0-9]+)\.*", re.IGNORECASE)
LOCAL_NAMES = ("localhost", "local", "internal", "localdomain", "home.arpa", "onion")
REFUSED_V4 = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # shared by carriers
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # a cloud's host, though public by number
        "169.254.0.0/16",  # link-local, metadata services
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)
PUBLIC_V6 = ipaddress.IPv6Network("2000::/3")
REFUSED_V6 = tuple(
    ipaddress.IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments, Teredo among them
        "2001:db8::/32",  # documentation
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
)
EMBEDS_V4 = tuple(
    ipaddress.IPv6Network(network)
    for network in (
        "::/96",  # compatible
        "::ffff:0:0/96",  # mapped
        "::ffff:0:0:0/96",  # translated
        "64:ff9b::/96",  # NAT64
    )
)
SIX_TO_FOUR = ipaddress.IPv6Network("2002::/16")
DNS_TIMEOUT_SEC = 5.0

Lookup = Callable[[str], Awaitable[Sequence[str]]]


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address is one of the public internet; an IPv4 address inside an IPv6 one is unwrapped and judged."""
    if isinstance(address, IPv4Address):
        return address.is_global and not any(address in network for network in REFUSED_V4)
    number = int(address)
    if any(address in network for network in EMBEDS_V4):
        return is_public(IPv4Address(number & 0xFFFFFFFF))
    if address in SIX_TO_FOUR:
        return is_public(IPv4Address(number >> 80 & 0xFFFFFFFF))
    return address in PUBLIC_V6 and address.is_global and not any(address in network for network in REFUSED_V6)


@dataclass(frozen=True, kw_only=True, slots=True)
class Guard:
    """What may be reached.

    Attributes:
        served_port: Port of the site that the stage serves itself on 127.0.0.1, reached as `http://localhost/`.
        only_served: Refuse everything else (there is nobody to contact).
        ports: Ports that other URLs may have.
        allows: Whether an address may be connected to.
    """

    served_port: int | None = None
    only_served: bool = False
    ports: frozenset[int] = frozenset({80, 443})
    allows: Callable[[IPv4Address | IPv6Address], bool] = is_public

    def check(self, text: str) -> URL:
        """A URL in its one form, without a fragment.

        Raises:
            LinkError: `url_refused`, `addr_refused` or `contact_missing`.
        """
        url = parse_url(text)
        if self.is_served(url):
            return url
        if url.port not in self.ports:
            raise LinkError("url_refused", f"port {url.port}")
        self._check_host(url.raw_host or "")
        if self.only_served:
            raise LinkError("contact_missing", "crawl.contact is empty")
        return url

    def is_served(self, url: URL) -> bool:
        """Whether a URL belongs to the site that the stage serves itself."""
        return self.served_port is not None and str(url.origin()) == SERVED_ORIGIN

    def target(self, url: URL) -> URL:
        """The URL that is really requested."""
        return url.with_host(LOOPBACK).with_port(self.served_port) if self.is_served(url) else url

    def check_addresses(self, addresses: Sequence[str]) -> None:
        """Raise LinkError if one address among a name's answers is not allowed: mixed answers are an attack."""
        for address in addresses:
            if not self.allows(ipaddress.ip_address(address.split("%")[0])):
                raise LinkError("addr_refused", "the name resolves to an address that is not public")

    def _check_host(self, host: str) -> None:
        name = host.rstrip(".").lower()
        if name.endswith(tuple(f".{local}" for local in LOCAL_NAMES)) or name in LOCAL_NAMES:
            raise LinkError("addr_refused", "a local name")
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            if ENDS_IN_NUMBER.fullmatch(host):
                raise LinkError("addr_refused", "an address in an unusual spelling") from None
            return
        if not self.allows(address):
            raise LinkError("addr_refused", "an address that is not public")


def parse_url(text: str) -> URL:
    """A URL in its one form: http(s), plain authority, encoded path, no fragment.

    Raises:
        LinkError: `url_refused`.
    """
    if len(text) > MAX_URL_CHARS:
        raise LinkError("url_refused", f"longer than {MAX_URL_CHARS} characters")
    if not PLAIN_URL.fullmatch(text):
        raise LinkError("url_refused", "not a plain http(s) URL")
    try:
        url = URL(text).with_fragment(None)
    except ValueError as error:
        raise LinkError("url_refused", "not a valid URL") from error
    host = url.raw_host or ""
    if not (HOST.fullmatch(host) or ":" in host) or url.port is None:
        raise LinkError("url_refused", "not a valid host")
    return url if url.raw_path not in ("", "/") or url.raw_query_string else URL(f"{url.origin()}/")


class GuardedResolver(AbstractResolver):
    """Resolves names for aiohttp and refuses a name if any of its answers is refused."""

    def __init__(self, guard: Guard, executor: Executor, lookup: Lookup | None = None) -> None:
        """`lookup` gives a name's addresses; the system's resolver when None, in the executor's threads."""
        self.guard = guard
        self.executor = executor
        self.lookup = lookup or self._system_lookup

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """See `aiohttp.abc.AbstractResolver`.

        Raises:
            LinkError: `dns_error` or `addr_refused`.
        """
        try:
            addresses = await asyncio.wait_for(self.lookup(host), DNS_TIMEOUT_SEC)
        except (OSError, UnicodeError, TimeoutError) as error:
            raise LinkError("dns_error", "the name does not resolve") from error
        self.guard.check_addresses(addresses)
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        """Nothing to close: the executor belongs to the caller."""

    async def _system_lookup(self, host: str) -> list[str]:
        loop = asyncio.get_running_loop()
        answers = await loop.run_in_executor(self.executor, _getaddrinfo, host)
        return [str(sockaddr[0]) for _, _, _, _, sockaddr in answers]


def _getaddrinfo(host: str) -> list[tuple]:
    return socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
