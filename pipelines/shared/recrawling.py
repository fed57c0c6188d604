"""A crawl after an earlier one: what is decided by the same things is taken from there and not fetched again.

What decides a shard is its links with all that was found beside them, the settings, the code, and the answers: for the
site that the stage serves the digests of its files, for the web the answers of the last crawl, as far as the refresh
that `sources.lock` speaks of found them unchanged. Where all of them are known the shard may be in the cache; where
some are, the shard is made anew and takes those rows and bytes over from the last crawl; the others are fetched.
"""

import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipelines.shared.crawling import PLAN
from pipelines.shared.files import digest_file, digest_json, link_or_copy
from pipelines.shared.jobs import Task
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
)
from pipelines.shared.layers import read_layer
from pipelines.shared.plan import Plan, chunk_path, read_chunk
from pipelines.shared.records import Link
from pipelines.shared.reuse import write_reuse
from pipelines.shared.serve import ServedFiles
from pipelines.shared.shards import FileInfo
from pipelines.shared.task_cache import TaskCache, keep_results

OLD = "old"
NOTHING_KNOWN = LastCrawl(made_by="", noted="", manifest="", files=())
Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Decided:
    """What decides a crawl's rows beside links and answers.

    Attributes:
        source: Key of the source.
        made_by: Digest of settings and code.
        noted: Digest of the source's entry in `sources.lock`.
        served: The site that the stage serves, if it does.
    """

    source: str
    made_by: str
    noted: str
    served: ServedFiles | None = None

    def token(self, link: Link, row: Mapping[str, Any] | None) -> Any:
        """JSON value that stands for the answer to a link, from its row; None where it is not known."""
        if not is_asked(link):
            return ""
        if self.served and self.served.holds(link.url):
            digest = self.served.digest(link.url)
            return None if digest is None else ["served", digest]
        return list(answer_of(row).values()) if row else None

    def shard_digest(self, path: Path, tokens: Sequence[Any]) -> str:
        """Digest of all that decides a shard, given the file with its links; empty if an answer is not known."""
        if None in tokens:
            return ""
        return digest_json([self.made_by, path.stem, digest_file(path), list(tokens)])


class Recrawl:
    """The last crawl, seen from the next one."""

    def __init__(self, decided: Decided) -> None:
        """Reads what is written down of it."""
        self.decided = decided
        self.cache = TaskCache()
        self.notes = read_notes(decided.source)
        last = read_last_crawl(decided.source) if self.cache.is_on else None
        if last is None or last.made_by != decided.made_by:
            last = NOTHING_KNOWN
        is_fresh = (self.notes.noted, self.notes.basis) == (decided.noted, last.manifest)
        if not is_fresh:
            self.notes = RefreshNotes()
        self.is_web_known = is_fresh or last.noted == decided.noted
        self.files = last.files
        self.starts = [Path(layer.name).stem for _, layer in last.files]
        self._loaded: dict[int, dict[str, Row]] = {}

    def tasks(self, plan: Plan, scratch: Path) -> list[Task]:
        """A task for each shard: with its digest if all answers are known, else with what it takes over laid out."""
        return [self._task(name, scratch) for name in plan.chunks]

    def keep(self, plan: Plan, results: Sequence[Mapping[str, Any]], scratch: Path, manifest: str) -> None:
        """After the crawl, put its shards into the cache, and write down where its rows are."""
        if not self.cache.is_on:
            return
        tasks = [
            Task(name, name, self._digest_afterwards(name, result, scratch))
            for name, result in zip(plan.chunks, results, strict=True)
        ]
        keep_results(tasks, results, scratch)
        files = tuple((FileInfo(**result["shard"]), FileInfo(**result["layer"])) for result in results)
        made_by, noted = self.decided.made_by, self.decided.noted
        write_last_crawl(self.decided.source, LastCrawl(made_by=made_by, noted=noted, manifest=manifest, files=files))

    def _task(self, name: str, scratch: Path) -> Task:
        links = read_chunk(scratch / PLAN, name)
        found = self._known_rows(links)
        known = {key: row for rows in found.values() for key, row in rows.items()}
        tokens = [self.decided.token(link, known.get(key)) for key, link in links]
        digest = self.decided.shard_digest(chunk_path(scratch / PLAN, name), tokens)
        if self.cache.result(digest) is None:
            self._lay_out(name, found, scratch)
        return Task(name, name, digest)

    def _known_rows(self, links: Sequence[tuple[str, Link]]) -> dict[int, dict[str, Row]]:
        """Rows of the last crawl that still hold, by the number of their shard, with the answers as they are now."""
        first = max(bisect.bisect_right(self.starts, links[0][0]) - 1, 0)
        found: dict[int, dict[str, Row]] = {}
        for number in range(first, bisect.bisect_right(self.starts, links[-1][0])):
            rows = self._old_rows(number)
            now = {key: {**rows[key], **self.notes.answers.get(key, {})} for key, _ in links if key in rows}
            found[number] = {
                key: now[key] for key, link in links if key in rows and self._holds(link, rows[key], now[key])
            }
        return found

    def _holds(self, link: Link, row: Row, now: Row) -> bool:
        if not (is_asked(link) and was_asked(row) and is_firm(row)):
            return False
        if self.decided.served and self.decided.served.holds(link.url):
            return bool(row["sha256"]) and row["sha256"] == self.decided.served.digest(link.url)
        return self.is_web_known and state_of(row) == state_of(now)

    def _old_rows(self, number: int) -> dict[str, Row]:
        if number not in self._loaded:
            self._loaded = {near: rows for near, rows in self._loaded.items() if near == number - 1}
            info = self.files[number][1]
            path = self.cache.file(info)
            table = read_layer(path.parent, replace(info, name=path.name)) if path else None
            self._loaded[number] = {row["key"]: row for row in table.to_pylist()} if table else {}
        return self._loaded[number]

    def _lay_out(self, name: str, found: Mapping[int, Mapping[str, Row]], scratch: Path) -> None:
        """Put the files with the rows that hold into the scratch folder, and say so beside the shard's links."""
        files: list[tuple[FileInfo, FileInfo]] = []
        answers: dict[str, Row] = {}
        for number, rows in found.items():
            paths = [path for info in self.files[number] if rows and (path := self.cache.file(info))]
            if len(paths) < 2:
                continue
            for path in paths:
                link_or_copy(path, scratch / OLD / path.name)
            shard, layer = (replace(info, name=f"{OLD}/{info.sha256}") for info in self.files[number])
            files.append((shard, layer))
            answers |= {key: {column: row[column] for column in ANSWER_COLUMNS} for key, row in rows.items()}
        write_reuse(scratch, PLAN, name, answers, files)

    def _token_afterwards(self, link: Link, row: Row) -> Any:
        """The token of a row that was just made; None where the same answer need not give the same row again."""
        token = self.decided.token(link, row)
        is_other = bool(row["sha256"]) and isinstance(token, list) and row["sha256"] not in token
        return None if is_other or (is_asked(link) and not is_firm(row)) else token

    def _digest_afterwards(self, name: str, result: Mapping[str, Any], scratch: Path) -> str:
        """The digest by which the next crawl will look for a shard.

        A shard with a loss that may pass, or with a file that was changed while the stage ran, is kept under one that
        nobody looks for, for the sake of its other rows.
        """
        rows = {row["key"]: row for row in read_layer(scratch, FileInfo(**result["layer"])).to_pylist()}
        tokens = [self._token_afterwards(link, rows[key]) for key, link in read_chunk(scratch / PLAN, name)]
        digest = self.decided.shard_digest(chunk_path(scratch / PLAN, name), tokens)
        return digest or digest_json([self.decided.made_by, result["shard"]["sha256"], result["layer"]["sha256"]])
