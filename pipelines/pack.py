"""Stage `pack@<pack>` and `repack@<pack>`: training shards from a filter's decisions, or a pack with new captions.

A key of the section `packs` reads `data/filter/<filter>` and the crawls behind it; a key of `repacks` reads a pack and
a recaption round. Both write `data/pack/<key>/{train,val,test}`: WebDataset shards that load in webdataset and
open_clip as they are.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from pipelines.shared.files import digest_json
from pipelines.shared.jobs import run_tasks
from pipelines.shared.manifests import Counts, Manifest, manifest_digest, read_manifest
from pipelines.shared.packing import PackEntry, PackShard, plan_pack
from pipelines.shared.params import build, entry
from pipelines.shared.provenance import code_identity
from pipelines.shared.publishing import publish
from pipelines.shared.records import ORIGINS
from pipelines.shared.repacking import RepackedShard, RepackEntry, RepackShard
from pipelines.shared.shards import FileInfo
from pipelines.shared.splits import SPLITS
from pipelines.shared.stage import DATA, StageRun, main
from pipelines.shared.task_cache import forgetting_failures, keep_results, take_results


def run(stage_run: StageRun) -> None:
    """Write a pack or a repack, whichever the key names."""
    sections = [name for name in ("packs", "repacks") if stage_run.key in (stage_run.params.get(name) or {})]
    if len(sections) == 2:
        raise ValueError(f"params.yaml: {stage_run.key} is a key of both packs and repacks: rename one")
    (repack if sections == ["repacks"] else pack)(stage_run)


def pack(stage_run: StageRun) -> None:
    """Write training shards from a filter's decisions."""
    settings = build(PackEntry, entry(stage_run.params, "packs", stage_run.key), f"packs.{stage_run.key}")
    plan = plan_pack(settings)
    with stage_run.scratch(asdict(settings), plan.inputs) as scratch:
        tasks = plan.tasks(settings)
        take_results(stage_run, tasks, scratch)
        results = run_tasks(stage_run, tasks, PackShard(settings), scratch)
        failed = summed(results, "failed")
        kept = plan.num_in - sum(plan.rejected.values()) - sum(failed.values())
        counts = Counts(num_in=plan.num_in, kept=kept, rejected=+plan.rejected, failed=failed)
        details = {name: getattr(settings, name) for name in ("media", "size_px", "resize", "filter")}
        with forgetting_failures(tasks, results, scratch):
            counts.check_failures(settings.max_failed_frac, f"pack {stage_run.key}")
            manifest = described(stage_run, digest_json(asdict(settings)), (plan.inputs, counts, details), results)
            publish(DATA / "pack" / stage_run.key, manifest, scratch)
        keep_results(tasks, results, scratch)


def repack(stage_run: StageRun) -> None:
    """Write a pack's samples with the captions of a recaption round."""
    settings = build(RepackEntry, entry(stage_run.params, "repacks", stage_run.key), f"repacks.{stage_run.key}")
    pack_folder, recaption_folder = DATA / "pack" / settings.pack, DATA / "recaption" / settings.recaption
    source, candidates = read_manifest(pack_folder), read_manifest(recaption_folder)
    inputs = {
        f"{folder.parent.name}/{folder.name}": manifest_digest(folder) for folder in (pack_folder, recaption_folder)
    }
    if candidates.inputs.get(f"pack/{settings.pack}") != inputs[f"pack/{settings.pack}"]:
        raise ValueError(f"{recaption_folder} was not made from {pack_folder} as it is now: run that round again")
    layers = {layer.name.removesuffix(".parquet"): layer for layer in candidates.layers}
    values = [RepackedShard(info, layers.get(info.name.removesuffix(".tar"))) for info in source.shards]
    for value in values:
        untouched = value.shard.name.startswith("test/")
        assert (value.candidates is None) == untouched, f"the round has the wrong layers for {value.shard.name}"
    work = RepackShard(entry=settings, pack_folder=pack_folder, recaption_folder=recaption_folder)
    decided = [settings.origins, settings.threshold, code_identity(RepackShard.__module__)]
    tasks = [value.task(decided) for value in values]
    with stage_run.scratch(asdict(settings), inputs) as scratch:
        take_results(stage_run, tasks, scratch)
        results = run_tasks(stage_run, tasks, work, scratch)
        rejected = summed(results, "rejected")
        counts = Counts(num_in=source.counts.kept, kept=source.counts.kept - sum(rejected.values()), rejected=rejected)
        details = {**source.details, "pack": settings.pack, "recaption": settings.recaption}
        manifest = described(stage_run, digest_json(asdict(settings)), (inputs, counts, details), results)
        publish(DATA / "pack" / stage_run.key, manifest, scratch)
        keep_results(tasks, results, scratch)


def described(
    stage_run: StageRun,
    settings_digest: str,
    account: tuple[Mapping[str, str], Counts, Mapping[str, Any]],
    results: Sequence[Mapping[str, Any]],
) -> Manifest:
    """What is published; a shard that came out empty is left out."""
    inputs, counts, details = account
    full = [result for result in results if result["shard"]["num_samples"]]
    shards = tuple(FileInfo(**result["shard"]) for result in full)
    assert counts.kept == sum(info.num_samples for info in shards), "the shards do not hold what was counted"
    splits = {name: sum(info.num_samples for info in shards if info.name.startswith(f"{name}/")) for name in SPLITS}
    captions = summed(results, "num_captions")
    facts = {
        "splits": splits,
        "num_captions": {origin: captions[origin] for origin in ORIGINS},
        "first_key": {result["shard"]["name"]: result["first_key"] for result in full},
    }
    return Manifest(
        stage="pack",
        instance=stage_run.key,
        settings_digest=settings_digest,
        inputs=inputs,
        counts=counts,
        shards=shards,
        details={**details, **facts},
    )


def summed(results: Sequence[Mapping[str, Any]], name: str) -> Counter[str]:
    """Counts of all shards together."""
    return sum((Counter(result[name]) for result in results), Counter())


if __name__ == "__main__":
    main("pack", run, "Write training shards from decisions, or from a pack and a recaption round.")
