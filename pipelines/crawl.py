"""Stage `crawl`: fetch what a source points at into shards and a facts layer of every link, lost ones included.

The source's links are found first and kept as a plan in the scratch folder; then each shard's worth of links is one
Beam element. A killed run goes on from the plan and from the shards that it had finished; shards that would come out as
in an earlier crawl are taken from the cache (`recrawling`).
"""

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipelines.shared.crawl_settings import CrawlSettings, SourceEntry, fetch_settings
from pipelines.shared.crawl_summary import crawl_table, first_advice, losses
from pipelines.shared.crawling import PLAN, CrawlShard, counted
from pipelines.shared.files import digest_json
from pipelines.shared.finding import make_plan, page_store
from pipelines.shared.jobs import run_tasks
from pipelines.shared.lock import check_lock, local_state
from pipelines.shared.manifests import Counts, Manifest
from pipelines.shared.params import build, entry, plugin_config, split_settings
from pipelines.shared.plan import Plan, read_plan
from pipelines.shared.provenance import code_identity
from pipelines.shared.publishing import publish
from pipelines.shared.recrawling import Decided, Recrawl
from pipelines.shared.serve import ServedFiles, serving
from pipelines.shared.shards import FileInfo
from pipelines.shared.stage import DATA, StageRun, main
from pipelines.shared.task_cache import take_results

logger = logging.getLogger("vignette.crawl")


def run(stage_run: StageRun) -> None:
    """Crawl one source."""
    where = f"sources.{stage_run.key}"
    settings = build(CrawlSettings, stage_run.params.get("crawl") or {}, "crawl")
    own, rest = split_settings(SourceEntry, entry(stage_run.params, "sources", stage_run.key), where)
    module, config = plugin_config("pipelines.sources", rest, where)
    source = module.Source(config)
    state = local_state(own.serve or source.serves(), source.files())
    locked = check_lock(stage_run.key, state)
    identity = [asdict(settings), asdict(own), rest["module"], asdict(config)]
    site = Path(state.serve) if state.serve else None
    rules = state.served.get("robots.txt", "") if site else None
    decided = Decided(
        source=stage_run.key,
        made_by=digest_json([stage_run.key, asdict(settings), rules, code_identity(CrawlShard.__module__)]),
        noted=digest_json(locked),
        served=ServedFiles(site, state.served) if site else None,
    )
    with stage_run.scratch(identity, locked) as scratch, serving(site) as port:
        fetch = fetch_settings(settings, own, port)
        pages = page_store(stage_run.key) if port is None else None
        plan = read_plan(scratch / PLAN) or make_plan(stage_run.key, source, fetch, own, scratch / PLAN, pages)
        recrawl = Recrawl(decided)
        work = CrawlShard(source=stage_run.key, fetch=fetch, settings=settings)
        tasks = recrawl.tasks(plan, scratch)
        take_results(stage_run, tasks, scratch)
        results = run_tasks(stage_run, tasks, work, scratch)
        counts = account(results)
        logger.info("%s", crawl_table(counts, where))
        check_failures(counts, own.max_failed_frac, where, results, scratch)
        check_kept(counts, own.warn_rejected_frac, where, results, scratch)
        manifest = publish(
            DATA / "crawl" / stage_run.key, described(stage_run, counts, results, plan, digest_json(identity)), scratch
        )
        recrawl.keep(plan, results, scratch, manifest)


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


def check_kept(counts: Counts, warn_frac: float, where: str, results: list[dict[str, Any]], scratch: Path) -> None:
    """Warn if more than a share was rejected; raise ValueError if nothing is kept, all is then tried again."""
    problem = losses(counts, warn_frac)
    if problem and counts.kept:
        logger.warning("%s: %s", where, problem)
    elif problem:
        for result in results:
            (scratch / result["shard"]["name"]).with_suffix(".json").unlink()
        raise ValueError(f"{where}: {problem}; {first_advice(counts)}")


def described(stage_run: StageRun, counts: Counts, results: list[dict[str, Any]], plan: Plan, digest: str) -> Manifest:
    """What is published."""
    assert counts.num_in == plan.num_links, f"{plan.num_links} links were planned, {counts.num_in} have a row"
    return Manifest(
        stage="crawl",
        instance=stage_run.key,
        settings_digest=digest,
        counts=counts,
        shards=tuple(FileInfo(**result["shard"]) for result in results),
        layers=tuple(FileInfo(**result["layer"]) for result in results),
        details={"num_samples": counts.kept, **plan.details},
    )


if __name__ == "__main__":
    main("crawl", run, "Fetch what a source points at into shards and a facts layer of every link.")
