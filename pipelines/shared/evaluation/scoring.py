"""From evidence to a score document and everything that stands behind it on disk."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from pipelines.shared.evaluation.evidence import FEATURES, Evidence
from pipelines.shared.evaluation.gallery import write_gallery
from pipelines.shared.evaluation.settings import EvaluationEntry, ReferenceEntry
from pipelines.shared.evaluation.split import HeldOut
from pipelines.shared.evaluation.storing import write_evidence
from pipelines.shared.files import atomic_path, digest_json, write_json
from pipelines.shared.folders import new_folder
from pipelines.shared.manifests import SCORE_SHA256, Counts, Manifest, write_manifest
from pipelines.shared.params import entry, plugin_config
from pipelines.shared.runs import LoadedRun, run_digest
from pipelines.shared.shards import describe

PER_SAMPLE = "per_sample.safetensors"
SAMPLES = "samples.json"
EVIDENCE = "evidence"
GALLERY = "gallery"
PICTURES = FEATURES | {"images", "log_likelihoods"}


def evaluate_run(
    key: str,
    settings: EvaluationEntry,
    metrics: Mapping[str, Any],
    seed: int,
    *,
    run: LoadedRun,
    load_judge: Callable[[], LoadedRun],
    split: HeldOut,
    out: Path,
) -> dict[str, Any]:
    """Score a model.

    Args:
        key: Name of the evaluation.
        settings: Of the evaluation.
        metrics: The section `metrics` of `params.yaml`.
        seed: Of all noise.
        run: The model.
        load_judge: Called when a metric first needs the judge, which is the run `settings.judge`.
        split: The held-out samples.
        out: Folder for per-sample values, evidence, gallery and manifest; emptied first.

    Returns:
        The score document.

    Raises:
        ValueError: A metric does not exist, or the model cannot supply what it needs.
    """
    evidence = Evidence(run, load_judge, split, settings, seed=seed)
    about = {"model": settings.model, "reference": "", "trained_on": run.pack}
    return score_evidence(key, evidence, metrics, about, out)


def score_evidence(
    key: str, evidence: Evidence, metrics: Mapping[str, Any], about: Mapping[str, str], out: Path
) -> dict[str, Any]:
    """Score what evidence there is; see `evaluate_run`. `about` tells what the evidence is of."""
    settings = evidence.settings
    judge_sha256 = run_digest(settings.judge)
    used: dict[str, tuple[Any, dict[str, Any]]] = {}
    with torch.no_grad():
        for name in settings.metrics:
            metric = make_metric(metrics, name)
            used[name] = metric, evidence.inputs(metric)
            metric.update(**used[name][1])
        document = {
            "evaluation": key,
            **about,
            "module": evidence.run.module,
            "model_sha256": evidence.run.sha256,
            "judge": settings.judge,
            "judge_sha256": judge_sha256,
            "pack": settings.pack,
            "pack_sha256": evidence.split.pack_sha256,
            "samples_sha256": evidence.split.sha256,
            "seed": evidence.seed,
            "image_px": evidence.image_px,
            **_scores(key, {name: metric for name, (metric, _) in used.items()}, settings.judge, evidence.image_px),
        }
        with new_folder(out) as new:
            publish(key, evidence, metrics, used, digest_json(document), new)
    return document


def make_metric(metrics: Mapping[str, Any], name: str) -> Any:
    """The metric of an entry of the section `metrics`."""
    module, config = plugin_config("metrics", entry({"metrics": metrics}, "metrics", name), f"metrics.{name}")
    return module.Metric(config)


def full_protocol(metric: Any, judge: str, image_px: int) -> dict[str, str | int | float]:
    """A metric's protocol, with what the evaluation adds to it.

    Args:
        metric: A metric that was computed.
        judge: Key of the judge.
        image_px: Side of the pictures that the model reads or makes, which detectors and pixel metrics see.
    """
    detector = judge if "pair_image_embeddings" in metric.inputs else ""
    if hasattr(metric, "detector"):
        detector = metric.detector.name
    pictures = {"image_px": image_px} if PICTURES & {*metric.inputs} else {}
    return {"detector": detector, **pictures, **metric.protocol()}


def publish(
    key: str,
    evidence: Evidence,
    metrics: Mapping[str, Any],
    used: Mapping[str, tuple[Any, Mapping[str, Any]]],
    score_sha256: str,
    out: Path,
) -> None:
    """Write per-sample values, evidence, gallery, and a manifest with the score document's digest, to a new folder."""
    settings, split = evidence.settings, evidence.split
    values = {
        f"{name}/{array}": torch.tensor(content)  # a copy, because metrics may hand out one array
        for name, (metric, _) in used.items()
        for array, content in metric.per_sample().items()
    }
    with atomic_path(out / PER_SAMPLE) as temporary:
        save_file(values, temporary)
    write_json(out / SAMPLES, samples_document(split))
    write_evidence(out / EVIDENCE, metrics, used)
    write_gallery(out / GALLERY, evidence)
    paths = [out / PER_SAMPLE, out / SAMPLES, *sorted((out / EVIDENCE).iterdir()), *sorted((out / GALLERY).iterdir())]
    total = len(split.samples)
    subject = {} if isinstance(settings, ReferenceEntry) else {f"run/{evidence.run.key}": evidence.run.sha256}
    write_manifest(
        out,
        Manifest(
            stage="evaluate",
            instance=key,
            settings_digest=digest_json([asdict(settings), evidence.seed]),
            inputs={f"pack/{settings.pack}": split.pack_sha256, **subject},
            counts=Counts(num_in=total, kept=total),
            layers=tuple(describe(path, out, total) for path in paths),
            details={SCORE_SHA256: score_sha256},
        ),
    )


def samples_document(split: HeldOut) -> dict[str, Any]:
    """Which samples and captions the rows of per-sample values are of."""
    return {
        "samples": [{"key": sample.key, "source": sample.facts.get("source", "")} for sample in split.samples],
        "captions": [
            {"owner": owner, "origin": origin} for owner, origin in zip(split.owners, split.origins, strict=True)
        ],
    }


def _scores(key: str, metrics: Mapping[str, Any], judge: str, image_px: int) -> dict[str, Any]:
    """Values with their intervals, which metric gave which, and their protocols."""
    scores: dict[str, Any] = {}
    groups, protocols = {}, {}
    for name, metric in metrics.items():
        found = {score: estimate.as_dict() for score, estimate in metric.compute().items()}
        if twice := found.keys() & scores.keys():
            raise ValueError(f"two metrics of {key} give the same score: {', '.join(sorted(twice))}")
        scores |= found
        groups[name] = list(found)
        protocols[name] = full_protocol(metric, judge, image_px)
    return {"scores": scores, "groups": groups, "protocols": protocols}
