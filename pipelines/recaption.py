"""Stage `recaption@<round>`: write captions for a pack's samples and judge web and synthetic ones alike.

Reads `data/pack/<pack>` and three runs; writes `data/recaption/<round>`: a caption-candidates layer for each training
and validation shard, and `audit.json`: which models wrote and judged, how the matcher judges planted captions, and what
share of the texts it rejected. The test split is never recaptioned.
"""

from dataclasses import asdict
from typing import Any

from pipelines.shared.audits import AUDIT, audit_summary
from pipelines.shared.files import digest_json
from pipelines.shared.jobs import Task, run_tasks
from pipelines.shared.manifests import Counts, Manifest, manifest_digest, read_manifest
from pipelines.shared.params import build, entry
from pipelines.shared.publishing import publish
from pipelines.shared.recaption_settings import OWN, CaptionerSpec, RecaptionEntry, captioner_specs
from pipelines.shared.recaptioning import RecaptionShard
from pipelines.shared.runs import require_capabilities, run_digest
from pipelines.shared.shards import FileInfo
from pipelines.shared.stage import DATA, StageRun, main
from pipelines.shared.task_cache import TaskCache, checked_counts, forgetting_failures

SPLITS = ("train", "val")


def run(stage_run: StageRun) -> None:
    """Do one round."""
    where = f"recaptions.{stage_run.key}"
    settings = build(RecaptionEntry, entry(stage_run.params, "recaptions", stage_run.key), where)
    specs = captioner_specs(settings, where)
    if settings.num_candidates:
        require_capabilities(settings.captioner, {"caption"}, f"{where}.captioner")
    require_capabilities(settings.matcher, {"match"}, f"{where}.matcher")
    require_capabilities(settings.clip, {"encode_image", "encode_text"}, f"{where}.clip")
    pack_folder = DATA / "pack" / settings.pack
    pack = read_manifest(pack_folder)
    runs = {f"run/{key}": run_digest(key) for key in (settings.captioner, settings.matcher, settings.clip)}
    inputs = {f"pack/{settings.pack}": manifest_digest(pack_folder), **runs}
    shards = [info for split in SPLITS for info in pack.files(f"{split}/")]
    writers = _captioners(settings, specs)
    with stage_run.scratch(asdict(settings), inputs) as scratch:
        work = RecaptionShard(
            entry=settings, round=stage_run.key, seed=stage_run.seed, pack_folder=pack_folder, captioners=specs
        )
        tasks = [Task(_task_name(info), info.as_dict()) for info in shards]
        results = run_tasks(stage_run, tasks, work, scratch)
        counts = checked_counts(tasks, results, scratch, settings.max_failed_frac, f"recaption {stage_run.key}")
        audit = {
            "captioners": writers,
            **audit_summary(
                (info.name.partition("/")[0], result) for info, result in zip(shards, results, strict=True)
            ),
        }
        manifest = described(stage_run, settings, counts, inputs, results)
        with forgetting_failures(tasks, results, scratch):
            publish(DATA / "recaption" / stage_run.key, manifest, scratch, {AUDIT: audit})
        TaskCache().keep({}, scratch)  # puts nothing there, but tidies up: captioners may have added answers


def described(
    stage_run: StageRun,
    settings: RecaptionEntry,
    counts: Counts,
    inputs: dict[str, str],
    results: list[dict[str, Any]],
) -> Manifest:
    """What is published beside the audit."""
    texts = {
        name: {
            origin: sum(r["texts"][name].get(origin, 0) for r in results) for origin in ("human", "synthetic", "web")
        }
        for name in ("judged", "kept")
    }
    return Manifest(
        stage="recaption",
        instance=stage_run.key,
        settings_digest=digest_json([settings.identity(), stage_run.seed]),
        inputs=inputs,
        counts=counts,
        layers=tuple(FileInfo(**result["layer"]) for result in results),
        details={"texts": texts, "threshold": settings.threshold, "pack": settings.pack},
    )


def _captioners(settings: RecaptionEntry, specs: tuple[CaptionerSpec, ...]) -> dict[str, Any]:
    """What wrote, by the name that its texts carry."""
    own = {
        "run": settings.captioner,
        "model": run_digest(settings.captioner),
        "decoding": dict(settings.decoding),
        "num_candidates": settings.num_candidates,
    }
    writers: dict[str, Any] = {OWN: own} if settings.num_candidates else {}
    for spec in specs:
        captioner = spec.build()
        writers[spec.name] = {
            "module": spec.module,
            "model": captioner.model,
            "decoding": dict(captioner.decoding),
            "num_candidates": spec.num_candidates,
        }
    return writers


def _task_name(info: FileInfo) -> str:
    return info.name.replace("/", "-").removesuffix(".tar")


if __name__ == "__main__":
    main("recaption", run, "Write captions for a pack's samples and judge web and synthetic ones alike.")
