"""The work of the crawl on one shard: fetch its links, judge what comes back, write the tar and the facts layer.

Links whose answers are known from an earlier crawl (`reuse`) are taken over from there and not fetched.

Every link becomes a row, whatever happened to it, and no row depends on the order in which answers come. A host's links
are taken up in key order within a window; after five failures in a row, or answers that take too long to decode, the
rest of that host's links in this shard are `host_suspended`, where "in a row" is by key and looks only at links that
left the window before this one entered it.
"""

import asyncio
import hashlib
import os
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import pyarrow

from pipelines.shared.answers import FetchError
from pipelines.shared.crawl_settings import CrawlSettings
from pipelines.shared.examine import Media, examine_in
from pipelines.shared.fetch import Fetcher
from pipelines.shared.fetch_settings import FetchSettings
from pipelines.shared.layers import CAPTION_TYPE, layer_schema, write_layer
from pipelines.shared.media import MediaLimits
from pipelines.shared.plan import chunk_path, read_chunk
from pipelines.shared.reasons import HOST_TROUBLE, LinkError, status_of
from pipelines.shared.records import Link, Sample
from pipelines.shared.reuse import reuse_files, reused_rows
from pipelines.shared.sandbox import Sandbox, process_sandbox
from pipelines.shared.shards import FileInfo, describe, write_shard
from pipelines.shared.unexpected import as_link_error
from pipelines.shared.urls import authority_of

TROUBLE_IN_A_ROW = 5
WINDOW_FACTOR = 4
PLAN = "plan"
FACTS_SCHEMA = layer_schema(
    {
        "source": pyarrow.string(),
        "url": pyarrow.string(),
        "page_url": pyarrow.string(),
        "final_url": pyarrow.string(),
        "captions": pyarrow.list_(CAPTION_TYPE),
        "status": pyarrow.string(),
        "reason": pyarrow.string(),
        "error_message": pyarrow.string(),
        "media": pyarrow.string(),
        "extension": pyarrow.string(),
        "width": pyarrow.int32(),
        "height": pyarrow.int32(),
        "num_frames": pyarrow.int32(),
        "duration_sec": pyarrow.float64(),
        "num_bytes": pyarrow.int64(),
        "sha256": pyarrow.string(),
        "http_status": pyarrow.int32(),
        "content_type": pyarrow.string(),
        "optout": pyarrow.string(),
        "etag": pyarrow.string(),
        "last_modified": pyarrow.string(),
    }
)
SAMPLE_FACTS = (
    *("source", "url", "page_url", "final_url", "media", "width", "height", "num_frames", "duration_sec"),
    *("num_bytes", "sha256", "content_type"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class CrawlShard:
    """The work of one shard; called with the name of its chunk of the plan.

    Attributes:
        source: Key of the source.
        fetch: How to fetch.
        settings: What is taken, and how it is decoded.
    """

    source: str
    fetch: FetchSettings
    settings: CrawlSettings

    def __call__(self, name: str, scratch: Path) -> dict[str, Any]:
        """Write `<name>.tar` and `<name>.parquet` into the scratch folder.

        Returns:
            JSON values: `shard` and `layer` (see `FileInfo`), `num_links`, and `reasons` with their counts.
        """
        links = read_chunk(scratch / PLAN, name)
        tar, layer = scratch / f"{name}.tar", scratch / f"{name}.parquet"
        with TemporaryFile(dir=scratch) as handle:
            spool = Spool(handle)
            taken = {outcome.row["key"]: outcome for outcome in _taken_over(dict(links), scratch, name, spool)}
            fetched = asyncio.run(self._crawl([pair for pair in links if pair[0] not in taken], spool))
            outcomes = sorted([*taken.values(), *fetched], key=lambda outcome: str(outcome.row["key"]))
            num_samples = write_shard(tar, _samples(outcomes, spool))
        write_layer(layer, [outcome.row for outcome in outcomes], FACTS_SCHEMA)
        reasons: dict[str, int] = defaultdict(int)
        for outcome in outcomes:
            reasons[outcome.row["reason"]] += 1
        return {
            "shard": describe(tar, scratch, num_samples).as_dict(),
            "layer": describe(layer, scratch, len(outcomes)).as_dict(),
            "num_links": len(outcomes),
            "reasons": dict(reasons),
        }

    def reads(self, name: str, scratch: Path) -> tuple[FileInfo, ...]:
        """The shard's links, and what it takes over from an earlier crawl."""
        return (describe(chunk_path(scratch / PLAN, name), Path(), 0), *reuse_files(scratch, PLAN, name))

    async def _crawl(self, links: list[tuple[str, Link]], spool: "Spool") -> "list[Outcome]":
        settings = self.settings
        sandbox = process_sandbox(settings.decode_sec, settings.decode_memory_mib)
        async with Fetcher(self.fetch) as fetcher:
            with ThreadPoolExecutor(max_workers=1, thread_name_prefix="decoder") as decoder:
                return await LinkCrawl(self.source, fetcher, settings.media, spool, sandbox, decoder).run(links)


@dataclass(frozen=True, slots=True)
class Span:
    """Where bytes lie in the spool."""

    start: int
    num_bytes: int


class Spool:
    """Bodies that wait on disk, so that memory does not grow with the shard; any thread may read."""

    def __init__(self, handle: IO[bytes]) -> None:
        self.handle = handle
        self.end = 0

    def put(self, content: bytes) -> Span:
        """Append bytes; only one thread does so."""
        span = Span(self.end, len(content))
        self.handle.write(content)
        self.handle.flush()
        self.end += len(content)
        return span

    def get(self, span: Span) -> bytes:
        """The bytes that were put."""
        content = os.pread(self.handle.fileno(), span.num_bytes, span.start)
        assert len(content) == span.num_bytes, f"the spool gave {len(content)} of {span.num_bytes} bytes"
        return content


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a link: its row of the facts layer, and where a success's bytes lie in the spool."""

    row: dict[str, Any]
    link: Link
    span: Span | None = None


@dataclass(slots=True)
class LinkCrawl:
    """Fetches links in the event loop and judges what comes back in the sandbox, fed by the decoder's thread."""

    source: str
    fetcher: Fetcher
    limits: MediaLimits
    spool: Spool
    sandbox: Sandbox
    decoder: Executor

    async def run(self, links: list[tuple[str, Link]]) -> list[Outcome]:
        """Outcomes of all links, in their order."""
        hosts: dict[str, list[tuple[str, Link]]] = defaultdict(list)
        for key, link in links:
            hosts[authority_of(link.url)].append((key, link))
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._host_links(items)) for items in hosts.values()]
        return sorted((outcome for task in tasks for outcome in task.result()), key=lambda outcome: outcome.row["key"])

    async def _host_links(self, items: list[tuple[str, Link]]) -> list[Outcome]:
        window = WINDOW_FACTOR * self.fetcher.window(items[0][1].url)
        waiting: deque[asyncio.Task[Outcome]] = deque()
        outcomes: list[Outcome] = []
        in_a_row = 0

        async def take() -> None:
            nonlocal in_a_row
            outcome = await waiting.popleft()
            outcomes.append(outcome)
            if outcome.row["reason"] in HOST_TROUBLE:
                in_a_row += 1
            elif outcome.row["http_status"]:
                in_a_row = 0

        async with asyncio.TaskGroup() as group:
            for key, link in items:
                if len(waiting) == window:
                    await take()
                if in_a_row >= TROUBLE_IN_A_ROW:
                    break
                waiting.append(group.create_task(self._outcome(key, link)))
            while waiting:
                await take()
        suspended = LinkError("host_suspended", f"{TROUBLE_IN_A_ROW} links of its host in a row had failed")
        return outcomes + [self._lost(self._row(key, link), link, suspended) for key, link in items[len(outcomes) :]]

    async def _outcome(self, key: str, link: Link) -> Outcome:
        row = self._row(key, link)
        try:
            if link.optout:
                raise LinkError(f"optout:{link.optout}", "reserved by its page")
            if not link.captions:
                raise LinkError("no_caption")
            with as_link_error(link.url):
                response = await self.fetcher.get_media(link.url)
            row |= {
                "final_url": response.final_url,
                "http_status": 200,
                "num_bytes": len(response.body),
                "sha256": hashlib.sha256(response.body).hexdigest(),
                "etag": response.etag,
                "last_modified": response.last_modified,
            }
            body = self.spool.put(response.body)
            del response
            with as_link_error(link.url):
                media = await asyncio.get_running_loop().run_in_executor(self.decoder, self._examined, body)
        except LinkError as error:
            return self._lost(row, link, error)
        return self._kept(row, link, media, body)

    def _examined(self, body: Span) -> Media:
        return examine_in(self.sandbox, self.spool.get(body), self.limits)

    def _row(self, key: str, link: Link) -> dict[str, Any]:
        return {
            "key": key,
            "source": self.source,
            "url": link.url,
            **_found(link),
            "final_url": "",
            "status": "success",
            "reason": "",
            "error_message": "",
            "media": "",
            "extension": "",
            "sha256": "",
            "http_status": None,
            "content_type": "",
            "optout": "",
            "etag": "",
            "last_modified": "",
        }

    def _lost(self, row: dict[str, Any], link: Link, error: LinkError) -> Outcome:
        if isinstance(error, FetchError):
            row |= {"http_status": error.http_status or None, "final_url": error.final_url}
        reason, _, signal = error.reason.partition(":")
        row |= {"status": status_of(error.reason), "reason": error.reason, "error_message": error.message}
        return Outcome(row | {"optout": signal if reason == "optout" else ""}, link)

    def _kept(self, row: dict[str, Any], link: Link, media: Media, body: Span) -> Outcome:
        row |= {
            "media": "video" if media.extension == "mp4" else "image",
            "extension": media.extension,
            "width": media.width,
            "height": media.height,
            "num_frames": media.num_frames,
            "duration_sec": media.duration_sec,
            "content_type": media.content_type,
        }
        return Outcome(row, link, self.spool.put(media.converted) if media.converted else body)


def _found(link: Link) -> dict[str, Any]:
    """What a row says of where its link was found."""
    return {"page_url": link.page_url, "captions": [caption.as_dict() for caption in link.captions]}


def _taken_over(links: Mapping[str, Link], scratch: Path, name: str, spool: Spool) -> Iterator[Outcome]:
    """Outcomes of an earlier crawl that still hold, with what is found beside their links now."""
    for row, media in reused_rows(scratch, PLAN, name):
        link = links[row["key"]]
        yield Outcome(row | _found(link), link, spool.put(media) if media else None)


def _samples(outcomes: list[Outcome], spool: Spool) -> Iterator[Sample]:
    for outcome in outcomes:
        if outcome.span is not None:
            yield Sample(
                key=outcome.row["key"],
                extension=outcome.row["extension"],
                media=spool.get(outcome.span),
                captions=outcome.link.captions,
                facts={name: outcome.row[name] for name in SAMPLE_FACTS},
            )


def counted(results: Sequence[Mapping[str, Any]], status: str) -> dict[str, int]:
    """Counts by reason over the results of shards, of the reasons that have a status."""
    totals: dict[str, int] = defaultdict(int)
    for result in results:
        for reason, count in result["reasons"].items():
            if status_of(reason) == status:
                totals[reason] += count
    return dict(totals)
