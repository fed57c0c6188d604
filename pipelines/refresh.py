"""Note in `sources.lock` what the sources are now: `vignette refresh`, or `vignette refresh <source>` for one of them.

Each source is compared with its last crawl, and a line says how many of its links are new, changed, gone, unchanged,
and whether that crawl lost most of them; one that kept nothing is an error. If
nothing has changed `sources.lock` keeps its bytes and the next rebuild does nothing; else the next rebuild crawls the
sources that changed, and fetches what is new or changed in them.
"""

import argparse
import asyncio
import datetime
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pipelines.shared.crawl_settings import CrawlSettings, SourceEntry, fetch_settings
from pipelines.shared.crawl_summary import losses
from pipelines.shared.fetch import Fetcher
from pipelines.shared.files import digest_json, remove_folder
from pipelines.shared.finding import make_plan, page_store
from pipelines.shared.known import RefreshNotes, read_last_crawl, read_notes, write_notes
from pipelines.shared.layers import read_layer
from pipelines.shared.lock import LocalState, local_state, lock_entry, read_lock, write_lock
from pipelines.shared.manifests import Manifest, has_manifest, manifest_digest, read_manifest
from pipelines.shared.params import build, entry, load_params, plugin_config, split_settings
from pipelines.shared.plan import read_chunk
from pipelines.shared.progress import progress
from pipelines.shared.refreshing import Comparison, Refresher, Summary, noted_entry
from pipelines.shared.serve import ServedFiles, serving
from pipelines.shared.stage import DATA, STATE, one_line_errors, single_run
from pipelines.sources import Source


@dataclass(frozen=True, slots=True)
class Known:
    """A source by its settings and by what lies on this machine."""

    name: str
    settings: CrawlSettings
    own: SourceEntry
    source: Source
    state: LocalState


def refresh(key: str | None = None, *, dry_run: bool = False) -> tuple[Summary, ...]:
    """Compare all sources of `params.yaml`, or one, with their last crawls, and rewrite `sources.lock`.

    Args:
        key: The source; all when None.
        dry_run: Write nothing.

    Raises:
        ValueError: There is no such source, or its settings are wrong. Of a source that cannot be read only the state
            on this machine is noted, and its summary says why.
    """
    params = load_params()
    before = read_lock()
    sources = [_load(params, name) for name in (params.get("sources") or {} if key is None else (key,))]
    done = [_refreshed(known, before.get(known.name), dry_run) for known in sources]
    noted = {summary.source: entry for summary, entry in done}
    after = noted if key is None else {**before, **noted}
    if not dry_run and after != before:
        write_lock(after)
    return tuple(summary for summary, _ in done)


def _load(params: Mapping[str, Any], name: str) -> Known:
    where = f"sources.{name}"
    settings = build(CrawlSettings, params.get("crawl") or {}, "crawl")
    own, rest = split_settings(SourceEntry, entry(params, "sources", name), where)
    module, config = plugin_config("pipelines.sources", rest, where)
    source = module.Source(config)
    return Known(name, settings, own, source, local_state(own.serve or source.serves(), source.files()))


def _refreshed(known: Known, before: Mapping[str, Any] | None, dry_run: bool) -> tuple[Summary, Mapping[str, Any]]:
    """What is said of a source, and its entry."""
    name, state, today = known.name, known.state, datetime.datetime.now(datetime.UTC).date()
    folder = DATA / "crawl" / name
    with single_run(f"crawl-{name}"):
        if not has_manifest(folder):
            after = before if before and before.get("local") == state.digests else lock_entry(state, today)
            return Summary(source=name, is_crawled=False, is_noted=after != before), after
        crawl, basis = read_manifest(folder), manifest_digest(folder)
        problem = losses(crawl.counts, known.own.warn_rejected_frac)
        keeps_none = bool(problem) and not crawl.counts.kept
        last, notes = read_last_crawl(name), read_notes(name)
        is_as_crawled = last is not None and (last.noted, last.manifest) == (digest_json(before), basis)
        if before and is_as_crawled and before == {"local": state.digests} and not known.settings.contact:
            unchanged = crawl.counts.num_in
            return Summary(source=name, unchanged=unchanged, losses=problem, keeps_none=keeps_none), before
        is_fresh = (notes.noted, notes.basis) == (digest_json(before), basis)
        notes = notes if is_fresh else RefreshNotes(basis=basis)
        try:
            found = _compared(known, crawl, notes, dry_run)
        except ValueError as error:
            after = {**before, "local": dict(state.digests)} if before else lock_entry(state, today)
            return Summary(source=name, is_noted=after != before, problem=str(error)), after
        after, changes = noted_entry(before, state, found, notes, today)
        if not dry_run:
            write_notes(
                name, RefreshNotes(noted=digest_json(after), basis=basis, changes=changes, answers=found.answers)
            )
        summary = found.summary(name, is_noted=after != before)
        return replace(summary, losses=problem, keeps_none=keeps_none), after


def _compared(known: Known, crawl: Manifest, notes: RefreshNotes, dry_run: bool) -> Comparison:
    """Find the source's links and compare them with its last crawl."""
    site = Path(known.state.serve) if known.state.serve else None
    scratch = STATE / "scratch" / "refresh" / known.name
    rows = (row for info in crawl.layers for row in read_layer(DATA / "crawl" / known.name, info).to_pylist())
    with serving(site) as port:
        fetch = fetch_settings(known.settings, known.own, port)
        pages = page_store(known.name, is_kept=not dry_run) if port is None else None
        plan = make_plan(known.name, known.source, fetch, known.own, scratch, pages)
        served = ServedFiles(site, known.state.served) if site else None

        async def compare() -> Comparison:
            async with Fetcher(fetch) as fetcher:
                links = (pair for name in plan.chunks for pair in read_chunk(scratch, name))
                with progress(desc=f"refresh {known.name}", unit="link") as bar:
                    refresher = Refresher(fetcher, served, notes.answers, may_lack=plan.lacks_pages)
                    return await refresher.compare(links, rows, bar)

        found = asyncio.run(compare())
    remove_folder(scratch)
    return found


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="vignette refresh", description="Note what the sources are now.")
    parser.add_argument("source", nargs="?", help="a source of params.yaml; all of them when it is left out")
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    parser.add_argument("--dry-run", action="store_true", help="write nothing")
    arguments = parser.parse_args()
    with one_line_errors("refresh"):
        summaries = refresh(arguments.source, dry_run=arguments.dry_run)
        if arguments.json:
            sys.stdout.write(json.dumps([asdict(summary) for summary in summaries], indent=2) + "\n")
        else:
            sys.stdout.writelines(f"{summary}\n" for summary in summaries)
        problems = [f"{each.source}: {each.problem}" for each in summaries if each.problem]
        problems += [f"{each.source}: of the last crawl {each.losses}" for each in summaries if each.keeps_none]
        if problems:
            raise ValueError("; ".join(problems))


if __name__ == "__main__":
    main()
