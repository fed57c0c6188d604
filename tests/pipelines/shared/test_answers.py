"""Headers and failures; whole answers are tested in test_fetch.py."""

import ssl

import aiohttp
import pytest
from yarl import URL

from pipelines.shared.answers import Held, fault_reason, retry_after_sec, validators

NOW = 1_900_000_000.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        (" 7 ", 7.0),
        ("315360000", 315360000.0),
        ("Mon, 18 Mar 2030 17:47:40 GMT", 1_900_086_460 - NOW),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 0.0),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("1e3", None),
        ("٣", None),
        ("Mon, 99 Foo 2030", None),
    ],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    assert retry_after_sec(value, NOW) == seconds


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (aiohttp.ConnectionTimeoutError(), "connect_error"),
        (aiohttp.SocketTimeoutError(), "too_slow"),
        (TimeoutError(), "deadline"),
        (ssl.SSLError(), "tls_error"),
        (aiohttp.ClientPayloadError(), "truncated"),
        (aiohttp.ServerDisconnectedError(), "connect_error"),
        (aiohttp.ClientOSError(), "connect_error"),
        (ConnectionResetError(), "connect_error"),
        (aiohttp.InvalidURL("x"), "protocol_error"),
        (ValueError(), "protocol_error"),
    ],
)
def test_fault_reasons(error: Exception, reason: str) -> None:
    assert fault_reason(error) == reason


LONG_AGO, SENT = "Sun, 06 Nov 1994 08:49:37 GMT", "Mon, 18 Mar 2030 17:47:40 GMT"


@pytest.mark.parametrize(
    ("etag", "kept"),
    [
        ('"abc"', True),
        ('W/"abc"', True),
        ('""', True),
        ("abc", False),
        ('w/"abc"', False),
        ('"a b"', False),
        ('"a"b"', False),
        ('"ä"', False),
        ('"a\r\nX: y"', False),
        ('"' + "x" * 254 + '"', True),
        ('"' + "x" * 255 + '"', False),
        ("", False),
    ],
)
def test_etags_are_plain_and_short(etag: str, kept: bool) -> None:
    assert validators({"ETag": etag}) == {"etag": etag if kept else "", "last_modified": ""}


@pytest.mark.parametrize(
    ("modified", "sent", "kept"),
    [
        (LONG_AGO, SENT, True),
        (SENT, SENT, False),
        ("Mon, 18 Mar 2030 17:46:41 GMT", SENT, False),
        ("Mon, 18 Mar 2030 17:46:40 GMT", SENT, True),
        (LONG_AGO, "", False),
        (LONG_AGO, "now", False),
        ("yesterday", SENT, False),
        (LONG_AGO + " " * 64, SENT, False),
        ("", SENT, False),
    ],
)
def test_times_are_settled(modified: str, sent: str, kept: bool) -> None:
    """A file that was changed in the very second of the answer may change once more in it."""
    found = validators({"Last-Modified": modified, "Date": sent})
    assert found == {"etag": "", "last_modified": modified if kept else ""}


def test_validators_are_shown_to_their_own_url_alone() -> None:
    held = Held(final_url="http://a.com/x", etag='"1"', last_modified=LONG_AGO)
    assert held.conditions(URL("http://a.com/x")) == {"If-None-Match": '"1"', "If-Modified-Since": LONG_AGO}
    assert held.conditions(URL("http://a.com/y")) == held.conditions(URL("http://b.com/x")) == {}
    assert Held(final_url="http://a.com/x", etag='"1"').conditions(URL("http://a.com/x")) == {"If-None-Match": '"1"'}
    assert Held().conditions(URL("http://a.com/x")) == {}
