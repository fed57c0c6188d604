"""The last net: what becomes a link's loss, and what does not."""

import asyncio
import errno
import logging

import pytest

from pipelines.shared.reasons import LinkError, may_pass, status_of
from pipelines.shared.unexpected import as_link_error


@pytest.mark.parametrize(
    "error",
    [
        ValueError("x"),
        UnicodeError("x\nhalf \ud800"),
        KeyError("x"),
        AssertionError("in the sandbox: IndexError"),
        RecursionError(),
        OSError(errno.ENAMETOOLONG, "long"),
    ],
)
def test_anything_is_the_links_own_loss_and_one_line_in_the_log(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR), pytest.raises(LinkError) as caught, as_link_error("http://a.com/\ud800\n"):
        raise error
    assert (caught.value.reason, caught.value.message) == ("internal_error", type(error).__name__)
    (record,) = caplog.records
    assert "\n" not in record.getMessage() and type(error).__name__ in record.getMessage()
    record.getMessage().encode()


@pytest.mark.parametrize(
    "error",
    [
        LinkError("no_caption"),
        OSError(errno.ENOSPC, "full"),
        MemoryError(),
        asyncio.CancelledError(),
        KeyboardInterrupt(),
    ],
)
def test_what_is_not_the_links_passes(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, as_link_error("http://a.com/"):
        raise error
    assert caught.value is error


def test_it_is_a_failure_that_is_asked_again() -> None:
    assert status_of("internal_error") == "failed" and may_pass("internal_error")
