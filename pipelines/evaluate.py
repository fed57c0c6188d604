"""Stage `evaluate@<evaluation>`: score a model on a pack's test split.

Reads `runs/<model>`, `runs/<judge>` and `data/pack/<pack>`; writes `scores/<evaluation>.json` (git keeps it) and
`data/evaluate/<evaluation>`: per-sample values for paired comparisons, and the gallery that the report shows.
"""

from dataclasses import asdict
from typing import Any

from pipelines.shared.devices import choose_device, make_deterministic
from pipelines.shared.evaluation.evidence import Evidence
from pipelines.shared.evaluation.gallery import write_gallery
from pipelines.shared.evaluation.settings import EvaluationEntry
from pipelines.shared.evaluation.split import HeldOut
from pipelines.shared.files import atomic_path, clear_folder, digest_json, write_json
from pipelines.shared.manifests import Counts, Manifest, write_manifest
from pipelines.shared.params import build, entry, plugin_config
from pipelines.shared.runs import load_run, run_digest
from pipelines.shared.shards import describe
from pipelines.shared.stage import DATA, SCORES, StageRun, main


def run(stage_run: StageRun) -> None:
    """Score one model."""
    import torch

    make_deterministic(choose_device("auto", f"evaluate {stage_run.key}"), stage_run.num_threads)
    where = f"evaluations.{stage_run.key}"
    settings = build(EvaluationEntry, entry(stage_run.params, "evaluations", stage_run.key), where)
    metrics = {key: _metric(stage_run, key) for key in settings.metrics}
    scored = load_run(settings.model)
    judge_sha256 = run_digest(settings.judge)
    split = HeldOut.load(DATA / "pack" / settings.pack, settings.origins)
    evidence = Evidence(scored, lambda: load_run(settings.judge), split, settings, seed=stage_run.seed)
    with torch.no_grad():
        for metric in metrics.values():
            metric.update(**evidence.inputs(metric))
        document = score_document(stage_run, settings, evidence, metrics, judge_sha256)
        publish(stage_run, settings, evidence, metrics)
    write_json(SCORES / f"{stage_run.key}.json", document)


def score_document(
    stage_run: StageRun, settings: EvaluationEntry, evidence: Evidence, metrics: dict[str, Any], judge_sha256: str
) -> dict[str, Any]:
    """All that a leaderboard needs to know of this evaluation: values, intervals, protocols and digests."""
    scores: dict[str, Any] = {}
    groups, protocols = {}, {}
    for key, metric in metrics.items():
        found = {name: estimate.as_dict() for name, estimate in metric.compute().items()}
        assert not found.keys() & scores.keys(), f"two metrics of {stage_run.key} give a score of the same name"
        scores |= found
        groups[key] = list(found)
        protocols[key] = {"detector": _detector_name(metric, settings), **metric.protocol()}
    return {
        "evaluation": stage_run.key,
        "model": settings.model,
        "module": evidence.run.module,
        "model_sha256": evidence.run.sha256,
        "trained_on": evidence.run.pack,
        "judge": settings.judge,
        "judge_sha256": judge_sha256,
        "pack": settings.pack,
        "pack_sha256": evidence.split.pack_sha256,
        "samples_sha256": evidence.split.sha256,
        "seed": stage_run.seed,
        "scores": scores,
        "groups": groups,
        "protocols": protocols,
    }


def publish(stage_run: StageRun, settings: EvaluationEntry, evidence: Evidence, metrics: dict[str, Any]) -> None:
    """Write per-sample values, the gallery and the manifest."""
    import torch
    from safetensors.torch import save_file

    out = DATA / "evaluate" / stage_run.key
    clear_folder(out)
    values = {
        f"{key}/{name}": torch.from_numpy(array).contiguous()
        for key, metric in metrics.items()
        for name, array in metric.per_sample().items()
    }
    with atomic_path(out / "per_sample.safetensors") as temporary:
        save_file(values, temporary)
    count = write_gallery(out / "gallery", evidence)
    files = [describe(out / "per_sample.safetensors", out, len(evidence.split.samples))]
    files += [describe(path, out, count) for path in sorted((out / "gallery").iterdir())]
    total = len(evidence.split.samples)
    write_manifest(
        out,
        Manifest(
            stage="evaluate",
            instance=stage_run.key,
            settings_digest=digest_json([asdict(settings), stage_run.seed]),
            inputs={f"pack/{settings.pack}": evidence.split.pack_sha256, f"run/{settings.model}": evidence.run.sha256},
            counts=Counts(num_in=total, kept=total),
            layers=tuple(files),
        ),
    )


def _metric(stage_run: StageRun, key: str) -> Any:
    where = f"metrics.{key}"
    module, config = plugin_config("metrics", entry(stage_run.params, "metrics", key), where)
    return module.Metric(config)


def _detector_name(metric: Any, settings: EvaluationEntry) -> str:
    """The network, besides the scored one, that a metric's values depend on."""
    if "generated_features" in metric.inputs:
        return metric.detector.name
    if "pair_image_embeddings" in metric.inputs:
        return settings.judge
    return ""


if __name__ == "__main__":
    main("evaluate", run, "Score a model on a pack's test split.", beam=False)
