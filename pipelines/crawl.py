"""Stage `crawl`: fetch what a source points at into shards and a facts layer of every link, lost ones included.

The source's links are found first and kept as a plan in the scratch folder; then each shard's worth of links is one
Beam element. A killed run goes on from the plan and from the shards that it had finished.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipelines.shared.crawl_settings import CrawlSettings, SourceEntry, fetch_settings
from pipelines.shared.crawling import PLAN, CrawlShard, counted
from pipelines.shared.fetch import Fetcher
from pipelines.shared.fetch_settings import FetchSettings
from pipelines.shared.files import clear_folder, digest_json, link_or_copy
from pipelines.shared.jobs import Task, run_tasks
from pipelines.shared.lock import check_lock
from pipelines.shared.manifests import Counts, Manifest, write_manifest
from pipelines.shared.params import build, entry, plugin_config, split_settings
from pipelines.shared.plan import Plan, read_plan, write_links, write_plan
from pipelines.shared.progress import progress
from pipelines.shared.reasons import FAILED
from pipelines.shared.records import Link
from pipelines.shared.serve import serving
from pipelines.shared.shards import FileInfo
from pipelines.shared.stage import DATA, StageRun, main
from pipelines.sources import Source


def run(stage_run: StageRun) -> None:
    """Crawl one source."""
    where = f"sources.{stage_run.key}"
    settings = build(CrawlSettings, stage_run.params.get("crawl") or {}, "crawl")
    own, rest = split_settings(SourceEntry, entry(stage_run.params, "sources", stage_run.key), where)
    module, config = plugin_config("pipelines.sources", rest, where)
    source = module.Source(config)
    serve = own.serve or source.serves()
    locked = check_lock(stage_run.key, serve, source.files())
    identity = [asdict(settings), asdict(own), rest["module"], asdict(config), locked]
    with stage_run.scratch(identity) as scratch, serving(Path(serve) if serve else None) as port:
        fetch = fetch_settings(settings, own, port)
        plan = read_plan(scratch / PLAN) or make_plan(stage_run.key, source, fetch, own, scratch)
        work = CrawlShard(source=stage_run.key, fetch=fetch, settings=settings)
        results = run_tasks(stage_run, [Task(name, name) for name in plan.chunks], work, scratch)
        counts = account(results)
        check_failures(counts, own.max_failed_frac, where, results, scratch)
        publish(stage_run, scratch, counts, results, plan, digest_json(identity))


def make_plan(key: str, source: Source, fetch: FetchSettings, own: SourceEntry, scratch: Path) -> Plan:
    """Find the source's links and lay out the shards."""
    folder = scratch / PLAN

    async def find() -> tuple[int, dict[str, int]]:
        async with Fetcher(fetch) as fetcher:
            with progress(desc=f"crawl {key}: links", unit="link") as bar:
                num_found = await write_links(_ticked(source.links(fetcher), bar), key, folder)
            return num_found, dict(sorted((+fetcher.page_counts).items()))

    num_found, pages = asyncio.run(find())
    failed = {reason: count for reason, count in pages.items() if reason in FAILED or reason.startswith("http_")}
    if sum(failed.values()) > own.max_failed_frac * sum(pages.values()):
        raise ValueError(
            f"sources.{key}: more than max_failed_frac = {own.max_failed_frac} of its pages failed: {failed}"
        )
    if not num_found:
        raise ValueError(f"sources.{key} has no links; its pages: {pages}")
    return write_plan(folder, own.samples_per_shard, {"num_found": num_found, "pages": pages})


def account(results: list[dict[str, Any]]) -> Counts:
    """Where every link went."""
    return Counts(
        num_in=sum(result["num_links"] for result in results),
        kept=sum(result["shard"]["num_samples"] for result in results),
        rejected=counted(results, "rejected"),
        failed=counted(results, "failed"),
    )


def check_failures(
    counts: Counts, max_failed_frac: float, where: str, results: list[dict[str, Any]], scratch: Path
) -> None:
    """Raise ValueError if too many links failed; the shards that they are in are then tried again by the next run."""
    try:
        counts.check_failures(max_failed_frac, where)
    except ValueError:
        for result in results:
            if counted([result], "failed"):
                (scratch / result["shard"]["name"]).with_suffix(".json").unlink()
        raise


def publish(
    stage_run: StageRun, scratch: Path, counts: Counts, results: list[dict[str, Any]], plan: Plan, digest: str
) -> None:
    """Put the finished files in their place and write the manifest last."""
    out = DATA / "crawl" / stage_run.key
    clear_folder(out)
    shards = tuple(FileInfo(**result["shard"]) for result in results)
    layers = tuple(FileInfo(**result["layer"]) for result in results)
    for info in (*shards, *layers):
        link_or_copy(scratch / info.name, out / info.name)
    assert counts.num_in == plan.num_links, f"{plan.num_links} links were planned, {counts.num_in} have a row"
    manifest = Manifest(
        stage="crawl",
        instance=stage_run.key,
        settings_digest=digest,
        counts=counts,
        shards=shards,
        layers=layers,
        details={"num_samples": counts.kept, **plan.details},
    )
    write_manifest(out, manifest)


async def _ticked(links: AsyncIterator[Link], bar: Any) -> AsyncIterator[Link]:
    async for link in links:
        bar.update()
        yield link


if __name__ == "__main__":
    main("crawl", run, "Fetch what a source points at into shards and a facts layer of every link.")
