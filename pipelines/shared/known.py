"""What is known of a source's links without asking: the last crawl's rows, and what a refresh has seen since.

Two small files outside git, each a cache and no more: `.vignette/crawls/<source>.json` says in which files the last
crawl's rows are, `.vignette/refreshes/<source>.json` how the answers differed from them when the last refresh asked.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pipelines.shared.files import write_json
from pipelines.shared.reasons import DECODER_TROUBLE, may_pass
from pipelines.shared.records import Link
from pipelines.shared.robots import UNREAD
from pipelines.shared.shards import FileInfo
from pipelines.shared.stage import STATE

ANSWER_COLUMNS = ("reason", "error_message", "http_status", "final_url", "sha256", "etag", "last_modified")


@dataclass(frozen=True, kw_only=True, slots=True)
class LastCrawl:
    """Where the rows of a source's last crawl are.

    Attributes:
        made_by: Digest of what decides a row beside its link and its answer: settings and code.
        noted: Digest of the source's entry in `sources.lock` at the time.
        manifest: sha256 of the crawl's manifest.
        files: Shards and facts layers, in key order.
    """

    made_by: str
    noted: str
    manifest: str
    files: tuple[tuple[FileInfo, FileInfo], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class RefreshNotes:
    """What the last refresh saw.

    Attributes:
        noted: Digest of the source's entry in `sources.lock` after it.
        basis: sha256 of the manifest of the crawl that it compared with.
        changes: The entry's `changes` if the source differed from that crawl, else empty.
        answers: Columns of answers that differed from the crawl's, by key.
    """

    noted: str = ""
    basis: str = ""
    changes: str = ""
    answers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def read_last_crawl(source: str) -> LastCrawl | None:
    """What is written down of a source's last crawl, if anything."""
    values = _read("crawls", source)
    try:
        files = tuple((FileInfo(**shard), FileInfo(**layer)) for shard, layer in values.pop("files"))
        return LastCrawl(**values, files=files)
    except (KeyError, TypeError, ValueError):
        return None


def write_last_crawl(source: str, last: LastCrawl) -> None:
    """Write down where a source's rows are."""
    write_json(_path("crawls", source), asdict(last))


def read_notes(source: str) -> RefreshNotes:
    """What the last refresh of a source saw; empty notes if there are none."""
    try:
        return RefreshNotes(**_read("refreshes", source))
    except TypeError:
        return RefreshNotes()


def write_notes(source: str, notes: RefreshNotes) -> None:
    """Write down what a refresh saw."""
    write_json(_path("refreshes", source), asdict(notes))


def answer_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of a facts row that the server's answer decided; one that an older crawl did not have is empty."""
    return {name: row.get(name, "") for name in ANSWER_COLUMNS}


def state_of(answer: Mapping[str, Any]) -> str:
    """What an answer was: the sha256 of its body, or else the reason why there is none."""
    return str(answer["sha256"] or answer["reason"])


def is_asked(link: Link) -> bool:
    """Whether the crawl asks for a link at all."""
    return bool(link.captions) and not link.optout


def was_asked(row: Mapping[str, Any]) -> bool:
    """Whether a row is what a request ended with, or would have ended with before it was made."""
    is_reserved_by_page = row["reason"].startswith("optout:") and not row["http_status"]
    return row["reason"] not in ("no_caption", "host_suspended") and not is_reserved_by_page


def is_firm(row: Mapping[str, Any]) -> bool:
    """Whether the same answer would give the same row again: nothing that may pass by itself is in it."""
    if row["sha256"]:
        return row["reason"] not in DECODER_TROUBLE
    return not may_pass(row["reason"]) and row["error_message"] != UNREAD


def _read(kind: str, source: str) -> dict[str, Any]:
    try:
        values = json.loads(_path(kind, source).read_bytes())
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def _path(kind: str, source: str) -> Path:
    return STATE / kind / f"{source}.json"
