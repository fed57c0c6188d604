"""What an HTTP answer says beside its body: status, redirect, opt-out, pause; and which reason a failure has."""

import email.utils
import ssl
import urllib.parse

import aiohttp
from yarl import URL

from pipelines.shared.fetch_settings import ROBOT
from pipelines.shared.optouts import header_signal
from pipelines.shared.reasons import LinkError

REDIRECTS = frozenset({301, 302, 303, 307, 308})


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


def check_headers(response: aiohttp.ClientResponse) -> None:
    """Raise LinkError if an answer's status or headers say that its body is not for us."""
    headers = response.headers
    if response.status != 200:
        raise FetchError(f"http_{response.status}", retry_after=headers.get("Retry-After", ""))
    if headers.get("Content-Encoding", "identity").strip().lower() not in ("identity", ""):
        raise LinkError("content_encoding", "the body is compressed")
    signal = header_signal(
        headers.getall("X-Robots-Tag", ()),
        headers.get("tdm-reservation", ""),
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
    try:
        return urllib.parse.urljoin(str(url), location)
    except ValueError as error:
        raise LinkError("url_refused", "a redirect to what is no URL") from error


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
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - now)
    except (TypeError, ValueError, OverflowError):
        return None
