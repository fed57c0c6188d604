"""What an HTTP answer says beside its body: status, redirect, opt-out, pause, validators; and a failure's reason.

Conditional requests: RFC 9110, 8.8 and 13.
"""

import email.utils
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp
from yarl import URL

from pipelines.shared.fetch_settings import ROBOT
from pipelines.shared.optouts import header_signal
from pipelines.shared.reasons import LinkError
from pipelines.shared.urls import resolved

REDIRECTS = frozenset({301, 302, 303, 307, 308})
NOT_MODIFIED = 304
MAX_ETAG_CHARS = 256
MAX_DATE_CHARS = 64
SETTLED_SEC = 60.0
RAW_BYTES = re.compile("[\udc80-\udcff]")  # what aiohttp makes of bytes that are not UTF-8
ETAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e]*"')


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """An answer that we have; its body is sent again only if it has changed.

    Attributes:
        final_url: Where it came from, after redirects; its validators are shown to that URL alone.
        etag: Its ETag; empty for none.
        last_modified: Its Last-Modified; empty for none.
    """

    final_url: str = ""
    etag: str = ""
    last_modified: str = ""

    def conditions(self, url: URL) -> dict[str, str]:
        """Request headers that ask a URL for an answer other than this one; none where there is nothing to show."""
        if str(url) != self.final_url:
            return {}
        headers = {"If-None-Match": self.etag, "If-Modified-Since": self.last_modified}
        return {name: value for name, value in headers.items() if value}


NOTHING_HELD = Held()


def validators(headers: Mapping[str, str]) -> dict[str, str]:
    """`etag` and `last_modified` of an answer as it states them; empty where they are missing, malformed or too long.

    A Last-Modified less than a minute before the answer's own Date is left out: a second change within its one second
    would go unnoticed (RFC 9110, 8.8.2.2).
    """
    etag, modified = headers.get("ETag", ""), headers.get("Last-Modified", "")
    is_etag = len(etag) <= MAX_ETAG_CHARS and ETAG.fullmatch(etag)
    sent_sec, modified_sec = http_date_sec(headers.get("Date", "")), http_date_sec(modified)
    is_settled = sent_sec is not None and modified_sec is not None and sent_sec - modified_sec >= SETTLED_SEC
    return {"etag": etag if is_etag else "", "last_modified": modified if is_settled else ""}


def http_date_sec(text: str) -> float | None:
    """Seconds since 1970 of a date in a header; None for what is no date, or none that can be shown again."""
    if len(text) > MAX_DATE_CHARS or not (text.isascii() and text.isprintable()):
        return None
    try:
        return email.utils.parsedate_to_datetime(text).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None


class FetchError(LinkError):
    """A fetch without a usable answer.

    Attributes:
        http_status: Status of the last answer; 0 when there was none.
        final_url: URL of the last request; empty when there was none.
        retry_after: The answer's Retry-After.
    """

    def __init__(
        self, reason: str, message: str = "", *, http_status: int = 0, final_url: str = "", retry_after: str = ""
    ) -> None:
        super().__init__(reason, message)
        self.http_status = http_status
        self.final_url = final_url
        self.retry_after = retry_after


def check_headers(response: aiohttp.ClientResponse, *, conditional: bool = False, is_rules: bool = False) -> None:
    """Raise LinkError if an answer's status or headers say that its body is not for us.

    Args:
        response: The answer.
        conditional: Whether validators were shown, so that 304 is an answer too.
        is_rules: Whether it is a robots.txt, which may ask not to be indexed itself and mean nothing else by it.
    """
    headers = response.headers
    if response.status != 200 and not (conditional and response.status == NOT_MODIFIED):
        raise FetchError(f"http_{response.status}", retry_after=headers.get("Retry-After", ""))
    codings = ",".join(headers.getall("Content-Encoding", ())).lower().split(",")
    if any(coding.strip() not in ("identity", "") for coding in codings):
        raise LinkError("content_encoding", "the body is compressed")
    if is_rules:
        return
    signal = header_signal(
        headers.getall("X-Robots-Tag", ()),
        ",".join(headers.getall("tdm-reservation", ())),
        ",".join(headers.getall("Content-Usage", ())),
        ROBOT.lower(),
    )
    if signal:
        raise LinkError(f"optout:{signal}", "reserved by the answer's headers")


def redirect_target(url: URL, response: aiohttp.ClientResponse) -> str:
    """Where a redirect leads, as text that the guard has yet to judge."""
    location = response.headers.get("Location", "")
    if not location:
        raise LinkError("redirect_limit", "a redirect without a target")
    return resolved(str(url), RAW_BYTES.sub(lambda byte: f"%{ord(byte[0]) - 0xDC00:02X}", location))


def fault_reason(error: Exception) -> str:
    """The reason code of an exception of aiohttp or of the system."""
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return "connect_error"
    if isinstance(error, aiohttp.ServerTimeoutError):
        return "too_slow"
    if isinstance(error, TimeoutError):
        return "deadline"
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        return "tls_error"
    if isinstance(error, aiohttp.ClientPayloadError):
        return "truncated"
    if isinstance(error, aiohttp.ClientConnectionError | OSError):
        return "connect_error"
    return "protocol_error"


def retry_after_sec(value: str, now: float) -> float | None:
    """Seconds that a Retry-After asks for, given as a number or as a date; None for anything else."""
    if value.strip().isascii() and value.strip().isdigit():
        return float(value)
    until_sec = http_date_sec(value)
    return None if until_sec is None else max(0.0, until_sec - now)
