"""Which URLs and addresses may be reached: http(s) on its own ports, and public addresses only.

Every hop goes through here: links, redirects and robots.txt, each in its one form (`urls`). `GuardedResolver` looks at
all answers to a name; the connection is made to the answers that were looked at, so a name cannot change between check
and use (DNS rebinding).

`ipaddress.is_global` alone is not enough: it takes multicast, 6to4, NAT64 and compatible forms of private addresses for
public. The site that a stage serves itself has the name `http://localhost/` in keys and rows, whatever its port;
`Guard.target` maps exactly that origin to exactly that server, and every other local address is refused.
"""

import ipaddress
import re
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from pipelines.shared.names import Lookup, Names
from pipelines.shared.reasons import LinkError
from pipelines.shared.urls import parse_url

SERVED_HOST = "localhost"
SERVED_ORIGIN = f"http://{SERVED_HOST}"
LOOPBACK = "127.0.0.1"
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


class GuardedResolver(AbstractResolver):
    """Resolves names for aiohttp and refuses a name if any of its answers is refused."""

    def __init__(self, guard: Guard, lookup: Lookup | None = None) -> None:
        """`lookup` gives a name's addresses; the system's resolver when None."""
        self.guard = guard
        self.names = Names(lookup)

    async def prepare(self, url: URL) -> None:
        """Look a URL's host up before the clock of its request starts; the connection then uses these answers.

        Raises:
            LinkError: `dns_error` or `addr_refused`.
        """
        host = url.raw_host or ""
        try:
            ipaddress.ip_address(host)
        except ValueError:
            self.guard.check_addresses(await self.names.addresses(host))

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """See `aiohttp.abc.AbstractResolver`.

        Raises:
            LinkError: `dns_error` or `addr_refused`.
        """
        addresses = await self.names.addresses(host)
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
        """Nothing to close."""
