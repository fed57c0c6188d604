"""URLs in their one form, and references resolved as browsers resolve them.

A URL is sent as its page or list gives it, because a signature may cover every byte of it: reserved characters and
their escapes stay as they are (`%2F`, `%3A`, `%27`, `+`, `%20`), in lower or upper case, and so does the query's order.
Changed is only what means the same to every server: escapes of unreserved characters are decoded (RFC 3986, 6.2.2.2),
what no URL may hold is escaped as UTF-8, dot segments are removed, the host is lower case and ASCII, the default port
and the fragment are dropped. Two links are one if these forms are equal.

The form is parsed once more by yarl, which also connects, told that nothing in it is to be encoded.
Sources: RFC 3986; url.spec.whatwg.org (path and query percent-encode sets, ports, relative references).
"""

import ipaddress
import re

from yarl import URL

from pipelines.shared.reasons import LinkError

MAX_URL_CHARS = 2083
MAX_HOST_CHARS = 253
MAX_LABEL_CHARS = 63
MAX_PORT = 65535
DEFAULT_PORTS = {"http": 80, "https": 443}
PLAIN_URL = re.compile(
    r"(?P<scheme>[Hh][Tt][Tt][Pp][Ss]?)://(?P<host>\[[0-9A-Fa-f:.]+\]|[^\[\]:@/?#%\s]+)(?::(?P<port>[0-9]*))?"
    r"(?P<path>/[^?#]*)?(?:\?(?P<query>[^#]*))?(?:#.*)?"
)
NEVER = re.compile(r"[\\\x00-\x1f\x7f-\x9f\ud800-\udfff]")
HOST = re.compile(r"[a-z0-9._-]+")
# an escape of an unreserved character; not behind a stray percent sign, with which it would make another escape
UNRESERVED = re.compile(r"(?<!%)(?<!%[0-9A-Fa-f])%(4[1-9A-Fa-f]|5[0-9Aa]|6[1-9A-Fa-f]|7[0-9AaEe]|3[0-9]|2[DdEe]|5[Ff])")
NOT_IN_PATH = re.compile(r'[ "<>^`{}]|[^\x00-\x7f]+')
NOT_IN_QUERY = re.compile(r'[ "<>]|[^\x00-\x7f]+')
SURROGATES = re.compile("[\ud800-\udfff]")
REFERENCE = re.compile(
    r"(?s)(?P<origin>(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*:)//[^/?#\\]*)(?P<path>[^?#]*)(?P<query>\?[^#]*)?(?:#.*)?"
)
SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
TRIMMED = "".join(map(chr, range(0x21)))
LINE_BREAKS = str.maketrans("", "", "\t\n\r")


def parse_url(text: str) -> URL:
    """A URL in its one form: http(s), plain authority, no dot segments, no fragment.

    Raises:
        LinkError: `url_refused`.
    """
    if len(text) > MAX_URL_CHARS:
        raise LinkError("url_refused", f"longer than {MAX_URL_CHARS} characters")
    parts = None if NEVER.search(text) else PLAIN_URL.fullmatch(text)
    if parts is None:
        raise LinkError("url_refused", "not a plain http(s) URL")
    scheme, query = parts["scheme"].lower(), parts["query"]
    origin = f"{scheme}://{_host(parts['host'])}{_port(scheme, parts['port'])}"
    path = _without_dots(_encoded(parts["path"] or "/", NOT_IN_PATH))
    if query is None:
        return URL(origin + path, encoded=True)
    if not query:  # yarl drops an empty query, which servers and signatures may tell from none
        return URL(origin, encoded=True).with_path(f"{path}?", encoded=True)
    return URL(f"{origin}{path}?{_encoded(query, NOT_IN_QUERY)}", encoded=True)


def canonical_url(text: str) -> str:
    """The one form of a URL; one that will be refused stays as it is, in characters that every file can hold.

    It is cut to one character more than the longest that is taken.
    """
    try:
        return str(parse_url(text))
    except LinkError:
        # the backslash keeps it refused
        return SURROGATES.sub(lambda half: f"\\u{ord(half[0]):x}", text[: MAX_URL_CHARS + 1])[: MAX_URL_CHARS + 1]


def resolved(base: str, reference: str) -> str:
    """The absolute address that a reference in a page means, not yet in its one form.

    Args:
        base: An absolute address; a reference that needs one stays as it is if this is none.
        reference: As it stands in an attribute or header.
    """
    text = reference.strip(TRIMMED).translate(LINE_BREAKS)
    parts = REFERENCE.fullmatch(base)
    if SCHEME.match(text) or parts is None:
        return text
    path, query = parts["path"], parts["query"] or ""
    if text.startswith("//"):
        return parts["scheme"] + text
    if text.startswith("/"):
        return parts["origin"] + text
    if not text or text.startswith("#"):
        return parts["origin"] + path + query + text
    if text.startswith("?"):
        return parts["origin"] + path + text
    return f"{parts['origin']}{path[: path.rfind('/') + 1] or '/'}{text}"


def authority_of(address: str) -> str:
    """Host and port of an address as text, by which links are grouped; the empty string for what has none."""
    parts = REFERENCE.fullmatch(address)
    return parts["origin"].partition("//")[2] if parts else ""


def _host(text: str) -> str:
    """A host in lower case and ASCII; raises LinkError for what no name and no IPv6 address can be."""
    if text.startswith("["):
        try:
            return f"[{_compressed(ipaddress.IPv6Address(text[1:-1]))}]"
        except ValueError as error:
            raise LinkError("url_refused", "not an IPv6 address") from error
    host = text.lower()
    if not HOST.fullmatch(host) or "xn--" in host:
        try:
            url = URL.build(scheme="http", host=text)
            host = (url.raw_host or "") if url.host else ""  # to decode it is what fails where it stands for no name
        except ValueError as error:
            raise LinkError("url_refused", "not a valid host") from error
    labels = host.removesuffix(".").split(".")
    is_name = HOST.fullmatch(host) and all(1 <= len(label) <= MAX_LABEL_CHARS for label in labels)
    if not is_name or len(host) > MAX_HOST_CHARS:
        raise LinkError("url_refused", "not a valid host")
    return host


def _compressed(address: ipaddress.IPv6Address) -> str:
    """An IPv6 address in its short form, of hexadecimal groups alone in every version of Python."""
    mapped = address.ipv4_mapped
    return f"::ffff:{int(mapped) >> 16:x}:{int(mapped) & 0xFFFF:x}" if mapped else str(address)


def _port(scheme: str, text: str | None) -> str:
    number = int(text) if text else DEFAULT_PORTS[scheme]
    if number > MAX_PORT:
        raise LinkError("url_refused", "not a port")
    return "" if number == DEFAULT_PORTS[scheme] else f":{number}"


def _encoded(text: str, unfit: re.Pattern[str]) -> str:
    plain = UNRESERVED.sub(lambda escape: chr(int(escape[1], 16)), text)
    return unfit.sub(lambda run: "".join(f"%{byte:02X}" for byte in run[0].encode()), plain)


def _without_dots(path: str) -> str:
    """A path without `.` and `..` segments (RFC 3986, 5.2.4)."""
    if "/." not in path:
        return path
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)
