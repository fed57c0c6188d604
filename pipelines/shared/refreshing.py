"""How a source differs now from its last crawl: its links are found again, and each known one is asked for a change.

Links to the site that is served on this machine are compared by the digests of its files. All others are asked
conditionally, with the validators of their last answer, under the rules of a crawl (robots.txt, pace, bounds): 304 and
an equal body are unchanged, another body or a new refusal is changed, 404 and 410 are gone. Whatever else goes wrong
counts as unchanged and is asked again the next time. An opt-out that an owner states in headers is seen where the 304
carries it, or when the body is sent again. New links are not asked: the crawl fetches them.
"""

import asyncio
import datetime
import hashlib
import heapq
import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pipelines.shared.answers import FetchError, Held
from pipelines.shared.fetch import Fetcher
from pipelines.shared.files import digest_json
from pipelines.shared.known import RefreshNotes, answer_of, is_asked, state_of, was_asked
from pipelines.shared.lock import LocalState, lock_entry
from pipelines.shared.reasons import GONE, HOST_TROUBLE, LinkError, may_pass, status_of
from pipelines.shared.records import Link
from pipelines.shared.robots import UNREAD
from pipelines.shared.serve import ServedFiles
from pipelines.shared.unexpected import as_link_error
from pipelines.shared.urls import authority_of

LINKS_AT_A_TIME = 1024
TROUBLE_IN_A_ROW = 5
Row = Mapping[str, Any]


@dataclass(slots=True)
class Comparison:
    """What was found.

    Attributes:
        counts: Links by `new`, `changed`, `gone`, `unchanged`; among the unchanged, `not_reached`.
        differences: JSON values that say how links that are not on this machine differ from the crawl.
        answers: Columns of those answers that differ from the crawl's rows, by key.
        num_links: Links that were found.
    """

    counts: Counter[str] = field(default_factory=Counter)
    differences: list[Any] = field(default_factory=list)
    answers: dict[str, dict[str, Any]] = field(default_factory=dict)
    num_links: int = 0

    def summary(self, source: str, *, is_noted: bool) -> "Summary":
        """What is said of it."""
        return Summary(
            source=source,
            new=self.counts["new"],
            changed=self.counts["changed"],
            gone=self.counts["gone"],
            unchanged=self.counts["unchanged"],
            not_reached=self.counts["not_reached"],
            is_noted=is_noted,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """What is said of a source; its text is a line.

    Attributes:
        source: Its key.
        is_crawled: Whether there is a crawl to compare with; if not, all its links are new to the next one.
        new: Links that the crawl did not have.
        changed: Links with another body, another refusal, or other captions.
        gone: Links that are not found any more, or that answer 404 or 410.
        unchanged: All others.
        not_reached: Those of the unchanged that gave no answer; they are asked again the next time.
        is_noted: Whether the entry in `sources.lock` has changed.
        problem: Why the source could not be compared; empty if it could.
        losses: What is wrong with its last crawl, see `crawl_summary.losses`; empty if it was fine.
        keeps_none: Whether that crawl kept nothing.
    """

    source: str
    is_crawled: bool = True
    new: int = 0
    changed: int = 0
    gone: int = 0
    unchanged: int = 0
    not_reached: int = 0
    is_noted: bool = False
    problem: str = ""
    losses: str = ""
    keeps_none: bool = False

    def __str__(self) -> str:
        if self.problem:
            return f"{self.source}: not compared"
        if not self.is_crawled:
            return f"{self.source}: not crawled yet"
        numbers = [f"{getattr(self, name)} {name}" for name in ("new", "changed", "gone", "unchanged")]
        not_reached = f" ({self.not_reached} not reached)" if self.not_reached else ""
        losses = f"; of the last crawl {self.losses}" if self.losses else ""
        return f"{self.source}: {', '.join(numbers)}{not_reached}{losses}"


@dataclass(frozen=True, slots=True)
class Seen:
    """An answer as it is now, as columns of the facts layer; the one known before where none was had."""

    answer: Mapping[str, Any]
    is_reached: bool = True


class Refresher:
    """Asks for changes."""

    def __init__(
        self, fetcher: Fetcher, served: ServedFiles | None, noted: Mapping[str, Row], *, may_lack: bool = False
    ) -> None:
        """`noted` has answers, by key, that an earlier refresh saw after the crawl.

        `may_lack` says that not all pages could be read: a link that is not found is then not reached, but not gone.
        """
        self.fetcher = fetcher
        self.served = served
        self.noted = noted
        self.may_lack = may_lack
        self._trouble: defaultdict[str, int] = defaultdict(int)

    async def compare(self, links: Iterable[tuple[str, Link]], rows: Iterable[Row], bar: Any) -> Comparison:
        """Compare links with the rows of a crawl, both in key order."""
        found = Comparison()
        pairs = joined(links, rows)
        while batch := list(itertools.islice(pairs, LINKS_AT_A_TIME)):
            self._trouble.clear()
            answers = await asyncio.gather(*(self._seen(key, link, row) for key, link, row in batch))
            for (key, link, row), seen in zip(batch, answers, strict=True):
                self._note(found, key, link, row, seen)
                bar.update()
        return found

    def _note(self, found: Comparison, key: str, link: Link | None, row: Row | None, seen: Seen | None) -> None:
        difference = [] if self.may_lack else ["gone"]
        if link is not None:
            found.num_links += 1
            difference = ["new", _found(link)] if row is None or seen is None else _difference(link, row, seen)
        found.counts[difference[0] if difference else "unchanged"] += 1
        found.counts["not_reached"] += not seen.is_reached if seen else link is None and self.may_lack
        if self._is_local(link.url if link else str(row["url"]) if row else ""):
            return
        if difference:
            found.differences.append([key, *difference])
        if row and seen and seen.answer != answer_of(row):
            found.answers[key] = dict(seen.answer)

    def _is_local(self, url: str) -> bool:
        return self.served is not None and self.served.holds(url)

    async def _seen(self, key: str, link: Link | None, row: Row | None) -> Seen | None:
        """The answer to a link that is known; None for one that is new or not found any more."""
        if link is None or row is None:
            return None
        known = {**answer_of(row), **self.noted.get(key, {})}
        if not is_asked(link) or (not was_asked(row) and row["reason"] != "host_suspended"):
            return Seen(known)
        if self.served and self._is_local(link.url) and row["sha256"]:
            digest = self.served.digest(link.url)
            if digest is not None:
                return Seen(known | {"sha256": digest, "reason": known["reason"] if digest else "http_404"})
        host = authority_of(link.url)
        if self._trouble[host] >= TROUBLE_IN_A_ROW:
            return Seen(known, is_reached=False)
        try:
            with as_link_error(link.url):
                seen, is_trouble = await self._asked(link, known), False
        except LinkError as error:
            seen, is_trouble = _refused(known, error), error.reason in HOST_TROUBLE
        self._trouble[host] = self._trouble[host] + 1 if is_trouble else 0
        return seen

    async def _asked(self, link: Link, known: dict[str, Any]) -> Seen:
        """Ask for a link; raises LinkError."""
        held = Held()
        if known["sha256"]:
            names = ("final_url", "etag", "last_modified")
            held = Held(**{name: known[name] or "" for name in names})
        response = await self.fetcher.get_media(link.url, held)
        now = {"final_url": response.final_url, "etag": response.etag, "last_modified": response.last_modified}
        if response.is_unchanged:
            return Seen(known | {name: value for name, value in now.items() if value})
        sha256 = hashlib.sha256(response.body).hexdigest()
        if sha256 == known["sha256"]:
            return Seen(known | now)
        return Seen({**known, **now, "sha256": sha256, "reason": "", "error_message": "", "http_status": 200})


def noted_entry(
    before: Mapping[str, Any] | None, state: LocalState, found: Comparison, basis: RefreshNotes, today: datetime.date
) -> tuple[dict[str, Any], str]:
    """A source's entry in `sources.lock` after a comparison with its last crawl.

    Args:
        before: The entry before; None if there was none.
        state: What lies on this machine.
        found: The comparison.
        basis: Notes of the refresh before, if it compared with the same crawl, else empty but for `basis`, the sha256
            of that crawl's manifest.
        today: The day.

    Returns:
        The entry, as it was if nothing has changed; and its `changes` if the source differs from the crawl, else "".
    """
    if before is None:
        return lock_entry(state, today), ""
    changes = digest_json([basis.basis, found.differences])
    is_known = changes == before.get("changes") if found.differences or basis.changes else True
    entry = {name: value for name, value in before.items() if name != "local"}
    if not is_known:
        entry = {"day": today.isoformat(), "links": found.num_links, "changes": changes}
    return {"local": dict(state.digests), **entry}, changes if found.differences else ""


def joined(links: Iterable[tuple[str, Link]], rows: Iterable[Row]) -> Iterator[tuple[str, Link | None, Row | None]]:
    """Links and rows of equal keys side by side, in key order; one of the two may be missing."""
    both: Iterator[tuple[str, int, Any]] = heapq.merge(
        ((key, 0, link) for key, link in links), ((row["key"], 1, row) for row in rows), key=lambda each: each[:2]
    )
    for key, group in itertools.groupby(both, key=lambda each: each[0]):
        values = {side: value for _, side, value in group}
        yield key, values.get(0), values.get(1)


def _refused(known: dict[str, Any], error: LinkError) -> Seen:
    """What an answer without a body says: that the link is gone, that it is refused, or nothing."""
    passes = may_pass(error.reason) or error.message == UNREAD
    if passes or (error.reason not in GONE and status_of(error.reason) != "rejected"):
        return Seen(known, is_reached=not passes and error.reason == known["reason"])
    status, url = (error.http_status or None, error.final_url) if isinstance(error, FetchError) else (None, "")
    now = {"reason": error.reason, "error_message": error.message, "http_status": status, "final_url": url}
    return Seen({**known, **now, "sha256": "", "etag": "", "last_modified": ""})


def _difference(link: Link, row: Row, seen: Seen) -> list[Any]:
    """How a link differs from its row; empty if it does not."""
    if state_of(seen.answer) != state_of(row):
        reason = seen.answer["reason"]
        return ["gone", reason] if reason in GONE else ["changed", state_of(seen.answer), _found(link)]
    return [] if _found(link) == _found_then(row) else ["changed", state_of(seen.answer), _found(link)]


def _found(link: Link) -> str:
    """Digest of what was found beside a link."""
    captions = [[caption.text, caption.origin, caption.place] for caption in link.captions]
    return digest_json([link.page_url, link.optout, captions])


def _found_then(row: Row) -> str:
    captions = [[caption["text"], caption["origin"], caption["place"]] for caption in row["captions"]]
    return digest_json([row["page_url"], "" if was_asked(row) else row["optout"], captions])
