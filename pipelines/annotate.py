"""Stage `annotate@<source>`: scores and facts of every sample that the crawl of a source took.

Reads `data/crawl/<source>`; writes `data/annotate/<source>`: a layer beside each shard, one row per sample in shard
order, with a column for each fact that the annotators of `params.yaml` state.
"""

from dataclasses import asdict
from pathlib import Path

import pyarrow.parquet

from pipelines.shared.annotating import (
    PACKAGE,
    AnnotateSettings,
    AnnotateShard,
    annotation_schema,
    annotator_specs,
)
from pipelines.shared.files import digest_json
from pipelines.shared.jobs import Task, run_tasks
from pipelines.shared.manifests import Manifest, manifest_digest, read_manifest
from pipelines.shared.params import build, entry
from pipelines.shared.provenance import code_identity
from pipelines.shared.publishing import publish
from pipelines.shared.shards import FileInfo
from pipelines.shared.stage import DATA, StageRun, main
from pipelines.shared.task_cache import checked_counts, forgetting_failures, keep_results, take_results


def run(stage_run: StageRun) -> None:
    """Annotate one source."""
    entry(stage_run.params, "sources", stage_run.key)
    own = build(AnnotateSettings, stage_run.params.get("annotate") or {}, "annotate")
    specs = annotator_specs(stage_run.params.get("annotators") or {})
    folder = DATA / "crawl" / stage_run.key
    crawl = read_manifest(folder)
    taken = pyarrow.parquet.read_schema(folder / crawl.layers[0].name).names if crawl.layers else []
    annotation_schema([spec.build() for spec in specs], taken)
    settings = [[spec.module, asdict(spec.config)] for spec in specs]
    inputs = {f"crawl/{stage_run.key}": manifest_digest(folder)}
    with stage_run.scratch(settings, inputs) as scratch:
        work = AnnotateShard(folder=folder, specs=specs, taken=tuple(taken))
        code = code_identity(AnnotateShard.__module__, *(f"{PACKAGE}.{spec.module}" for spec in specs))
        tasks = [
            Task(Path(info.name).stem, info.as_dict(), digest_json([code, settings, info.as_dict()]))
            for info in crawl.shards
        ]
        take_results(stage_run, tasks, scratch)
        results = run_tasks(stage_run, tasks, work, scratch)
        counts = checked_counts(tasks, results, scratch, own.max_failed_frac, f"annotate {stage_run.key}")
        manifest = Manifest(
            stage="annotate",
            instance=stage_run.key,
            settings_digest=digest_json(settings),
            inputs=inputs,
            counts=counts,
            layers=tuple(FileInfo(**result["layer"]) for result in results),
        )
        with forgetting_failures(tasks, results, scratch):
            publish(DATA / "annotate" / stage_run.key, manifest, scratch)
        keep_results(tasks, results, scratch)


if __name__ == "__main__":
    main("annotate", run, "Compute scores and facts of every sample of a source.")
