"""Stage `evaluate@<evaluation>` and `reference@<reference>`: score a model, or what gives its scores a scale.

Reads `runs/<model>`, `runs/<judge>` and `data/pack/<pack>`; writes `scores/<key>.json` (git keeps it) and
`data/evaluate/<key>`: per-sample values for paired comparisons, the evidence that every score can be computed from
again, and the gallery that the report shows.
"""

from typing import Any

from pipelines.shared.devices import choose_device, make_deterministic
from pipelines.shared.evaluation.references import ReferenceEvidence
from pipelines.shared.evaluation.scoring import evaluate_run, score_evidence
from pipelines.shared.evaluation.settings import EvaluationEntry, ReferenceEntry
from pipelines.shared.evaluation.split import HeldOut
from pipelines.shared.files import write_json
from pipelines.shared.params import build, entry
from pipelines.shared.runs import load_run
from pipelines.shared.stage import DATA, SCORES, StageRun, main


def run(stage_run: StageRun) -> None:
    """Score one model, or one reference."""
    make_deterministic(choose_device("auto", f"evaluate {stage_run.key}"), stage_run.num_threads)
    is_reference = stage_run.key in (stage_run.params.get("references") or {})
    document = score_reference(stage_run) if is_reference else score_model(stage_run)
    write_json(SCORES / f"{stage_run.key}.json", document)


def score_model(stage_run: StageRun) -> dict[str, Any]:
    """The score document of an entry of `evaluations`."""
    key = stage_run.key
    settings = build(EvaluationEntry, entry(stage_run.params, "evaluations", key), f"evaluations.{key}")
    return evaluate_run(
        key,
        settings,
        stage_run.params["metrics"],
        stage_run.seed,
        run=load_run(settings.model),
        load_judge=lambda: load_run(settings.judge),
        split=HeldOut.load(DATA / "pack" / settings.pack, settings.origins),
        out=DATA / "evaluate" / key,
    )


def score_reference(stage_run: StageRun) -> dict[str, Any]:
    """The score document of an entry of `references`."""
    key = stage_run.key
    if key in stage_run.params["evaluations"]:
        raise ValueError(f"params.yaml: references.{key} has the name of an evaluation: give it another one")
    settings = build(ReferenceEntry, entry(stage_run.params, "references", key), f"references.{key}")
    split = HeldOut.load(DATA / "pack" / settings.pack, settings.origins)
    evidence = ReferenceEvidence(lambda: load_run(settings.judge), split, settings, seed=stage_run.seed)
    about = {"model": "", "reference": settings.kind, "trained_on": ""}
    return score_evidence(key, evidence, stage_run.params["metrics"], about, DATA / "evaluate" / key)


if __name__ == "__main__":
    main("evaluate", run, "Score a model on a pack's test split, or a reference row.", beam=False)
