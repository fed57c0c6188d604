"""Headers and failures; whole answers are tested in test_fetch.py."""

import ssl

import aiohttp
import pytest

from pipelines.shared.answers import fault_reason, retry_after_sec

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
