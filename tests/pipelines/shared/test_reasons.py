"""The list of reasons is the list."""

import re
from pathlib import Path

import pytest

from pipelines.shared.reasons import FAILED, HOST_TROUBLE, REJECTED, TRIES_AGAIN, LinkError, status_of
from pipelines.shared.records import REASON

SHARED = Path(__file__).resolve().parents[3] / "pipelines" / "shared"


def test_no_code_has_two_statuses() -> None:
    assert not set(REJECTED) & set(FAILED)
    for reason in (*REJECTED, *FAILED, *TRIES_AGAIN, *HOST_TROUBLE):
        assert REASON.fullmatch(reason) and status_of(reason) in ("rejected", "failed")


def test_statuses() -> None:
    assert status_of("") == "success"
    assert status_of("optout:noai") == "rejected"
    assert status_of("http_404") == "failed"
    with pytest.raises(AssertionError, match="not in the list"):
        status_of("no_such_code")


def test_errors_carry_known_reasons_only() -> None:
    assert str(LinkError("empty")) == "empty" and str(LinkError("empty", "x")) == "empty: x"
    for reason in ("", "Empty", "unknown"):
        with pytest.raises(AssertionError):
            LinkError(reason)


def test_slow_files_are_their_hosts_trouble() -> None:
    """A host that sends five in a row is suspended; a decoder that died is a matter of one file."""
    assert "decode_timeout" in HOST_TROUBLE and "decode_crash" not in HOST_TROUBLE


def test_every_listed_reason_is_raised_somewhere() -> None:
    code = "".join(path.read_text() for path in SHARED.glob("*.py") if path.name != "reasons.py")
    for reason in set(REJECTED) | set(FAILED):
        assert re.search(rf'["f]"?{reason}["_:]', code), f"nothing gives {reason}"
