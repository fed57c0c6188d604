"""Find a source's links and lay out its shards: the first half of a crawl, and of a refresh."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from pipelines.shared.crawl_settings import SourceEntry
from pipelines.shared.fetch import Fetcher
from pipelines.shared.fetch_settings import FetchSettings
from pipelines.shared.pages import PageStore
from pipelines.shared.plan import Plan, write_links, write_plan
from pipelines.shared.progress import progress
from pipelines.shared.reasons import FAILED
from pipelines.shared.records import Link
from pipelines.shared.stage import STATE
from pipelines.shared.task_cache import TaskCache
from pipelines.sources import Source


def make_plan(
    key: str, source: Source, fetch: FetchSettings, own: SourceEntry, folder: Path, pages: PageStore | None = None
) -> Plan:
    """Find the source's links and lay out the shards.

    Args:
        key: Key of the source.
        source: The source.
        fetch: How its pages are fetched.
        own: The crawl's settings of its entry.
        folder: Where the plan goes.
        pages: Its pages as they were the last time.

    Raises:
        ValueError: It has no links, or too many of its pages could not be read.
    """

    async def find() -> tuple[int, dict[str, int], dict[str, int]]:
        async with Fetcher(fetch, pages=pages) as fetcher:
            with progress(desc=f"{key}: links", unit="link") as bar:
                num_found = await write_links(_ticked(source.links(fetcher), bar), key, folder)
            return num_found, dict(sorted((+fetcher.page_counts).items())), dict(sorted(fetcher.picture_counts.items()))

    num_found, counts, left_out = asyncio.run(find())
    failed = {reason: count for reason, count in counts.items() if reason in FAILED or reason.startswith("http_")}
    if sum(failed.values()) > own.max_failed_frac * sum(counts.values()):
        raise ValueError(
            f"sources.{key}: more than max_failed_frac = {own.max_failed_frac} of its pages failed: {failed}"
        )
    if not num_found:
        raise ValueError(f"sources.{key} has no links; its pages: {counts}")
    if pages:
        pages.sweep()
    details: dict[str, Any] = {"num_found": num_found, "pages": counts}
    return write_plan(folder, own.samples_per_shard, details | ({"left_out": left_out} if left_out else {}))


def page_store(source: str, *, is_kept: bool = True) -> PageStore | None:
    """The pages of a source on the web as they were the last time; None where the environment turns caches off."""
    return PageStore(STATE / "pages" / source, is_kept=is_kept) if TaskCache().is_on else None


async def _ticked(links: AsyncIterator[Link], bar: Any) -> AsyncIterator[Link]:
    async for link in links:
        bar.update()
        yield link
