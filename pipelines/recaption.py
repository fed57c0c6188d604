"""Stage `recaption@<round>`: write captions for a pack's samples and judge web and synthetic ones alike.

Reads `data/pack/<pack>` and three runs; writes `data/recaption/<round>`: a caption-candidates layer for each training
and validation shard. The test split is never recaptioned.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipelines.shared.files import clear_folder, digest_json, link_or_copy
from pipelines.shared.jobs import Task, run_tasks
from pipelines.shared.manifests import Counts, Manifest, manifest_digest, read_manifest, write_manifest
from pipelines.shared.params import build, entry
from pipelines.shared.recaptioning import RecaptionEntry, RecaptionShard
from pipelines.shared.runs import require_capabilities, run_digest
from pipelines.shared.shards import FileInfo
from pipelines.shared.stage import DATA, StageRun, main

SPLITS = ("train", "val")


def run(stage_run: StageRun) -> None:
    """Do one round."""
    where = f"recaptions.{stage_run.key}"
    settings = build(RecaptionEntry, entry(stage_run.params, "recaptions", stage_run.key), where)
    require_capabilities(settings.captioner, {"caption"}, f"{where}.captioner")
    require_capabilities(settings.matcher, {"match"}, f"{where}.matcher")
    require_capabilities(settings.clip, {"encode_image", "encode_text"}, f"{where}.clip")
    pack_folder = DATA / "pack" / settings.pack
    pack = read_manifest(pack_folder)
    runs = {f"run/{key}": run_digest(key) for key in (settings.captioner, settings.matcher, settings.clip)}
    inputs = {f"pack/{settings.pack}": manifest_digest(pack_folder), **runs}
    shards = [info for split in SPLITS for info in pack.files(f"{split}/")]
    with stage_run.scratch(asdict(settings), inputs) as scratch:
        work = RecaptionShard(entry=settings, round=stage_run.key, seed=stage_run.seed, pack_folder=pack_folder)
        results = run_tasks(stage_run, [Task(_task_name(info), info.as_dict()) for info in shards], work, scratch)
        publish(stage_run, settings, inputs, results, scratch)


def publish(
    stage_run: StageRun, settings: RecaptionEntry, inputs: dict[str, str], results: list[dict[str, Any]], scratch: Path
) -> None:
    """Put the layers in their place and write the manifest."""
    out = DATA / "recaption" / stage_run.key
    clear_folder(out)
    layers = tuple(FileInfo(**result["layer"]) for result in results)
    for info in layers:
        link_or_copy(scratch / info.name, out / info.name)
    num_samples = sum(info.num_samples for info in layers)
    texts = {
        name: {
            origin: sum(r["texts"][name].get(origin, 0) for r in results) for origin in ("human", "synthetic", "web")
        }
        for name in ("judged", "kept")
    }
    write_manifest(
        out,
        Manifest(
            stage="recaption",
            instance=stage_run.key,
            settings_digest=digest_json([asdict(settings), stage_run.seed]),
            inputs=inputs,
            counts=Counts(num_in=num_samples, kept=num_samples),
            layers=layers,
            details={"texts": texts, "threshold": settings.threshold, "pack": settings.pack},
        ),
    )


def _task_name(info: FileInfo) -> str:
    return info.name.replace("/", "-").removesuffix(".tar")


if __name__ == "__main__":
    main("recaption", run, "Write captions for a pack's samples and judge web and synthetic ones alike.")
