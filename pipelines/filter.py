"""Stage `filter@<name>`: for every link of its sources kept, or the first reason why not; and the split.

Reads layers only: `data/crawl/<source>` and `data/annotate/<source>`. Writes `data/filter/<name>/<source>`: a row per
link, so that the way from a link to a training sample can be counted without gaps. Rules run on Beam, a shard at a
time; duplicates and splits are decided over all sources at once (see `decisions`).
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow

from pipelines.shared.columns import ShardLayers, source_layers, to_numpy
from pipelines.shared.decisions import DecisionSettings, decide
from pipelines.shared.files import digest_json
from pipelines.shared.filtering import (
    FilterEntry,
    JudgeShard,
    check_columns,
    fit_rules,
    fitted_thresholds,
    load_rules,
)
from pipelines.shared.jobs import Task, run_tasks
from pipelines.shared.layers import read_layer, write_table
from pipelines.shared.manifests import Counts, Manifest
from pipelines.shared.params import build, entry
from pipelines.shared.publishing import publish
from pipelines.shared.shards import FileInfo, describe
from pipelines.shared.splits import SPLITS
from pipelines.shared.stage import DATA, StageRun, main

DECIDED = "decided"


def run(stage_run: StageRun) -> None:
    """Judge all links of a filter's sources."""
    where = f"filters.{stage_run.key}"
    values = entry(stage_run.params, "filters", stage_run.key)
    settings = build(FilterEntry, values, where)
    decision_settings = DecisionSettings.of(settings, stage_run.seed, where)
    rules = load_rules(settings.all_rules(where), f"{where}.rules")
    shards: list[ShardLayers] = []
    inputs: dict[str, str] = {}
    for source in settings.sources:
        layers, digests = source_layers(source)
        shards, inputs = [*shards, *layers], {**inputs, **digests}
    check_columns(rules, settings.identity, shards, where)
    with stage_run.scratch(values, inputs) as scratch:
        rules = fit_rules(rules, shards)
        tasks = [Task(f"{shard.source}-{shard.facts.name.removesuffix('.parquet')}", shard) for shard in shards]
        results = run_tasks(stage_run, tasks, JudgeShard(rules=rules, identity=settings.identity), scratch)
        verdicts = pyarrow.concat_tables(read_layer(scratch, FileInfo(**result["verdicts"])) for result in results)
        source_of = [np.full(shard.facts.num_samples, settings.sources.index(shard.source)) for shard in shards]
        decisions = decide(verdicts, np.concatenate(source_of), decision_settings)
        splits = Counter(decisions["split"].to_pylist())
        manifest = Manifest(
            stage="filter",
            instance=stage_run.key,
            settings_digest=digest_json([values, stage_run.seed]),
            inputs=inputs,
            counts=account(decisions.append_column("status", verdicts["status"])),
            layers=written(decisions, shards, scratch / DECIDED),
            details={
                "splits": {name: splits[name] for name in SPLITS},
                "thresholds": fitted_thresholds(rules),
            },
        )
        publish(DATA / "filter" / stage_run.key, manifest, scratch / DECIDED)


def written(decisions: pyarrow.Table, shards: Sequence[ShardLayers], folder: Path) -> tuple[FileInfo, ...]:
    """Write the layers of all shards into a folder."""
    layers, start = [], 0
    for shard in shards:
        path = folder / shard.source / shard.facts.name
        count = write_table(path, decisions.slice(start, shard.facts.num_samples).combine_chunks())
        layers.append(describe(path, folder, count))
        start += count
    return tuple(layers)


def account(decisions: pyarrow.Table) -> Counts:
    """Where all links went; what failed in the crawl or did not decode is a failure, all else was rejected."""
    lost: dict[str, Any] = {"rejected": Counter(), "failed": Counter()}
    reasons, statuses = (to_numpy(decisions[name].combine_chunks()) for name in ("reason", "status"))
    for reason, status in zip(reasons, statuses, strict=True):
        if reason:
            went_wrong = status == "failed" or reason.startswith("annotate:")
            lost["failed" if went_wrong else "rejected"][reason] += 1
    kept = int((reasons == "").sum())
    return Counts(num_in=len(reasons), kept=kept, rejected=dict(lost["rejected"]), failed=dict(lost["failed"]))


if __name__ == "__main__":
    main("filter", run, "Decide for every link: kept, or the first reason why not; and its split.")
