"""What is written down of a crawl and a refresh, and what a row is worth."""

from pathlib import Path
from typing import Any

import pytest

from pipelines.shared.known import (
    ANSWER_COLUMNS,
    LastCrawl,
    RefreshNotes,
    answer_of,
    is_asked,
    is_firm,
    read_last_crawl,
    read_notes,
    state_of,
    was_asked,
    write_last_crawl,
    write_notes,
)
from pipelines.shared.records import Caption, Link
from pipelines.shared.robots import UNREAD
from pipelines.shared.shards import FileInfo

INFO = FileInfo(name="00000.tar", num_samples=1, num_bytes=2, sha256="a" * 64)
TEXT = (Caption(text="a", origin="web"),)


def row(**changes: Any) -> dict[str, Any]:
    values = dict.fromkeys(ANSWER_COLUMNS, "") | {"http_status": None, "optout": "", "captions": [], "page_url": ""}
    return values | changes


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_there_and_back() -> None:
    last = LastCrawl(made_by="m", noted="n", manifest="b", files=((INFO, INFO),))
    write_last_crawl("toys", last)
    assert read_last_crawl("toys") == last and read_last_crawl("cars") is None
    notes = RefreshNotes(noted="n", basis="b", changes="c", answers={"k": {"etag": '"1"'}})
    write_notes("toys", notes)
    assert read_notes("toys") == notes and read_notes("cars") == RefreshNotes()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"files": 1}', '{"files": [], "made_by": ""}', '{"files": [[{}, {}]]}']
)
def test_what_cannot_be_read_is_nothing(text: str) -> None:
    for kind in ("crawls", "refreshes"):
        Path(".vignette", kind).mkdir(parents=True)
        Path(".vignette", kind, "toys.json").write_text(text)
    assert read_last_crawl("toys") is None and read_notes("toys") == RefreshNotes()


def test_states() -> None:
    assert state_of(row(sha256="a" * 64, reason="decode_error")) == "a" * 64
    assert state_of(row(reason="http_404")) == "http_404"
    assert list(answer_of(row(width=3))) == list(ANSWER_COLUMNS)
    assert answer_of({"reason": "deadline"}) == dict.fromkeys(ANSWER_COLUMNS, "") | {"reason": "deadline"}


def test_what_is_asked() -> None:
    assert is_asked(Link(url="u", captions=TEXT))
    assert not is_asked(Link(url="u")) and not is_asked(Link(url="u", captions=TEXT, optout="noai"))
    assert was_asked(row(reason="http_404", http_status=404)) and was_asked(row(reason="connect_error"))
    assert was_asked(row(reason="optout:noai", http_status=200)), "its answer said so"
    assert not was_asked(row(reason="optout:noai")), "its page said so"
    assert not was_asked(row(reason="no_caption")) and not was_asked(row(reason="host_suspended"))


@pytest.mark.parametrize(
    ("changes", "firm"),
    [
        ({"sha256": "a"}, True),
        ({"sha256": "a", "reason": "decode_error"}, True),
        ({"sha256": "a", "reason": "truncated"}, True),
        ({"sha256": "a", "reason": "decode_timeout"}, False),
        ({"reason": "truncated"}, False),
        ({"reason": "http_404"}, True),
        ({"reason": "http_503"}, False),
        ({"reason": "http_429"}, False),
        ({"reason": "deadline"}, False),
        ({"reason": "host_suspended"}, False),
        ({"reason": "type_refused"}, True),
        ({"reason": "robots_denied", "error_message": "disallowed by robots.txt"}, True),
        ({"reason": "robots_denied", "error_message": UNREAD}, False),
        ({"reason": "optout:noai"}, True),
    ],
)
def test_firm_rows(changes: dict[str, str], firm: bool) -> None:
    assert is_firm(row(**changes)) is firm
