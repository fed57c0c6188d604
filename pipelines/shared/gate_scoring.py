"""A gate's decision from end to end: champion and challenger scored on the frozen test set, the verdict, its files.

Both are scored with the same noise, by the same judge (the present one), in one process. What is finished is kept in
the scratch folder under the digest of all that decides, so a killed run goes on with the second of the two, and a gate
whose `gate.json` has this digest has nothing to decide.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from metrics.shared.bootstrap import Resampling
from pipelines.shared.champions import HELD_OUT, TRAINED_ON, Champion, read_champion
from pipelines.shared.comparing import Scored
from pipelines.shared.devices import choose_device, make_deterministic
from pipelines.shared.evaluation.settings import EvaluationEntry
from pipelines.shared.exposure import exposed, trained_on
from pipelines.shared.files import digest_file, digest_json, digest_tree, write_json
from pipelines.shared.gate_files import publish_gate, read_gate_file, summary
from pipelines.shared.gate_settings import GateEntry, read_gate
from pipelines.shared.gating import INVALID, Verdict, check_scores, decide, first_verdict, samples_needed
from pipelines.shared.manifests import manifest_digest, read_manifest
from pipelines.shared.params import build, entry
from pipelines.shared.runs import LoadedRun, load_run, read_run, run_digest
from pipelines.shared.stage import DATA, PACKAGE, SCORES, StageRun

GALLERY, EVALUATED = "gallery", "evaluate"
TRAINING_INPUT = "train_features"
SHARED = PACKAGE / "shared"
CODE = (PACKAGE.parent / "metrics", PACKAGE.parent / "models", SHARED / "evaluation")
CODE_FILES = tuple(SHARED / f"{name}.py" for name in ("comparing", "exposure", "gains", "gating", "gate_scoring"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Contest:
    """A challenger before its gate.

    Attributes:
        gate: Name of the gate.
        entry: Its settings.
        evaluation: By whose settings both are scored.
        challenger: Digest of the challenger's weights.
        champion: None where there never was one.
        stage_run: Seed, threads and parameters.
    """

    gate: str
    entry: GateEntry
    evaluation: EvaluationEntry
    challenger: str
    champion: Champion | None
    stage_run: StageRun

    @property
    def is_champion(self) -> bool:
        """Whether the challenger is the champion itself."""
        return self.champion is not None and self.champion.model_sha256 == self.challenger

    @property
    def is_decided(self) -> bool:
        """Whether there is nothing to decide (any more)."""
        last = read_gate_file(self.gate)
        return self.is_champion or (last is not None and last["identity"] == self.identity)

    @property
    def pack(self) -> Path:
        """The pack that the evaluation names."""
        return DATA / "pack" / self.evaluation.pack

    @property
    def identity(self) -> str:
        """Digest of all that decides."""
        metrics = self.stage_run.params["metrics"]
        return digest_json(
            [
                asdict(self.entry),
                asdict(self.evaluation),
                {name: metrics.get(name) for name in self.evaluation.metrics},
                [self.stage_run.seed, self.stage_run.num_threads],
                [self.challenger, run_digest(self.evaluation.judge)],
                self.champion.sha256 if self.champion else manifest_digest(self.pack),
                [digest_tree(folder, "*.py") for folder in CODE],
                [digest_file(path) for path in CODE_FILES],
            ]
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Terms:
    """What is the same for both when they are scored.

    Attributes:
        champion: Whose frozen test set it is.
        settings: Of the evaluation, with those metrics alone that the gate's scores are of.
        scratch: Where results are kept until the verdict is published.
    """

    champion: Champion
    settings: EvaluationEntry
    scratch: Path


def read_contest(params: Mapping[str, Any], gate: str) -> Contest:
    """The present challenger and champion of a gate.

    Raises:
        ValueError: The gate's settings are wrong, or a run is missing.
    """
    own = read_gate(params, gate)
    evaluation = build(EvaluationEntry, entry(params, "evaluations", own.evaluation), f"evaluations.{own.evaluation}")
    return Contest(
        gate=gate,
        entry=own,
        evaluation=evaluation,
        challenger=run_digest(evaluation.model),
        champion=read_champion(gate),
        stage_run=StageRun(stage="gate", key=gate, params=params),
    )


def outlook(contest: Contest) -> str:
    """What `settle` would do, once all stages are up to date.

    Raises:
        ValueError: The gate's scores cannot decide.
    """
    if contest.is_champion:
        return f"nothing to decide, {contest.evaluation.model} is the champion"
    if contest.is_decided:
        last = read_gate_file(contest.gate)
        assert last, "a decision has a file"
        return f"has decided: {summary(last)}"
    evaluated(contest)
    rival = f"champion {contest.champion.version}" if contest.champion else "there is no champion yet"
    return f"scores {contest.evaluation.model}; {rival}"


def settle(contest: Contest) -> dict[str, Any]:
    """Score both, decide, and publish.

    Returns:
        What `gate.json` holds.

    Raises:
        ValueError: The gate's scores cannot decide, or what it needs is not up to date.
    """
    present = evaluated(contest)
    with contest.stage_run.scratch(contest.identity) as scratch:
        if contest.champion:
            needed = tuple(dict.fromkeys(present.metric(score) for score in contest.entry.scores))
            settings = dataclasses.replace(contest.evaluation, metrics=needed)
            terms = Terms(champion=contest.champion, settings=settings, scratch=scratch)
            verdict, galleries, counts = _against(contest, terms)
        else:
            folder = DATA / "evaluate" / contest.entry.evaluation
            verdict, galleries = first_verdict(present, contest.entry), {"challenger": folder / GALLERY}
            total = sum(info.num_samples for info in read_manifest(contest.pack).files("test/"))
            counts = {"num_samples": total, "num_excluded": 0, "num_scored": _num_scored(folder)}
        document = _document(contest, verdict, counts)
        publish_gate(document, galleries)
    return document


def evaluated(contest: Contest) -> Scored:
    """What stage `evaluate` found of the challenger, after it was checked that the gate can decide by such scores.

    Raises:
        ValueError: It cannot, or the stage has to be run again.
    """
    from pipelines.shared.evaluation.scoring import make_metric

    key, metrics = contest.entry.evaluation, contest.stage_run.params["metrics"]
    scored = Scored.load(SCORES, DATA / "evaluate", key)
    if scored.document["model_sha256"] != contest.challenger:
        raise ValueError(
            f"{SCORES / key}.json is of another run than the present {contest.evaluation.model}: run `vignette repro`"
        )
    needs = {name: TRAINING_INPUT in make_metric(metrics, name).inputs for name in contest.evaluation.metrics}
    check_scores(contest.entry, scored, f"retrain.gates.{contest.gate}", needs)
    return scored


def _against(contest: Contest, terms: Terms) -> tuple[Verdict, dict[str, Path], dict[str, Any]]:
    """The verdict, the galleries behind it, and counts of the test set."""
    terms.champion.check()
    held_out = terms.champion.samples(HELD_OUT)
    trained = [terms.champion.samples(TRAINED_ON), trained_on(contest.evaluation.model)]
    without = exposed(held_out, trained)
    total = held_out.num_rows
    looks = min(table["phash"].null_count < table.num_rows for table in (held_out, *trained))
    counts = {"num_samples": total, "num_excluded": len(without), "num_scored": 0, "near_duplicates": looks}
    if len(without) > contest.entry.max_excluded_frac * total:
        reason = (
            f"{len(without)} of {total} samples of the frozen test set were trained on, more than max_excluded_frac = "
            f"{contest.entry.max_excluded_frac:g}: `vignette promote {contest.gate} --refreeze` freezes another one"
        )
        return Verdict(verdict=INVALID, reasons=(reason,)), {}, counts
    make_deterministic(choose_device("auto", f"gate {contest.gate}"), contest.stage_run.num_threads)
    both: dict[str, Scored] = {}
    for who in ("challenger", "champion"):
        try:
            both[who] = _scored(contest, who, terms, without)
        except ValueError as error:
            reason = f"the {who} cannot be scored on the frozen test set by the present code and settings: {error}"
            return Verdict(verdict=INVALID, reasons=(" ".join(reason.split()),)), {}, counts
    verdict = decide(both["champion"], both["challenger"], contest.entry, Resampling(seed=contest.stage_run.seed))
    galleries = {name: terms.scratch / EVALUATED / name / GALLERY for name in ("champion", "challenger")}
    return verdict, galleries, counts | {"num_scored": _num_scored(terms.scratch / EVALUATED / "challenger")}


def _num_scored(folder: Path) -> int:
    """Samples that an evaluation was of: those with a caption of its origins."""
    return read_manifest(folder).counts.kept


def _scored(contest: Contest, who: str, terms: Terms, without: frozenset[str]) -> Scored:
    """Scores of one of the two on the frozen test set; those of an interrupted run, where they are finished."""
    path = terms.scratch / SCORES / f"{who}.json"
    if not path.exists():
        write_json(path, _score(contest, who, terms, without))
    return Scored.load(terms.scratch / SCORES, terms.scratch / EVALUATED, who)


def _score(contest: Contest, who: str, terms: Terms, without: frozenset[str]) -> dict[str, Any]:
    from pipelines.shared.evaluation.scoring import evaluate_run
    from pipelines.shared.evaluation.split import HeldOut

    run = load_run(contest.evaluation.model) if who == "challenger" else load_champion(terms.champion)
    return evaluate_run(
        contest.entry.evaluation,
        dataclasses.replace(terms.settings, model=run.key),
        contest.stage_run.params["metrics"],
        contest.stage_run.seed,
        run=run,
        load_judge=lambda: load_run(terms.settings.judge),
        split=HeldOut.load(terms.champion.test, terms.settings.origins, without),
        out=terms.scratch / EVALUATED / who,
    )


def load_champion(champion: Champion) -> LoadedRun:
    """A champion's run.

    Raises:
        ValueError: It does not fit the present code any more.
    """
    import torch

    try:
        return load_run(champion.run, folder=champion.runs)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:  # how torch says that weights have other names or shapes
        raise ValueError(str(error)) from error


def _document(contest: Contest, verdict: Verdict, counts: Mapping[str, Any]) -> dict[str, Any]:
    """All of `gate.json`."""
    champion, model = contest.champion, contest.evaluation.model
    about = {"run": model, "model_sha256": contest.challenger, "pack": read_run(model)["pack"]["key"]}
    return {
        "gate": contest.gate,
        "evaluation": contest.entry.evaluation,
        **verdict.as_dict(),
        "samples_needed": samples_needed(verdict.outcomes),
        "challenger": about,
        "champion": {
            "run": champion.run,
            "model_sha256": champion.model_sha256,
            "version": champion.version,
            "promoted": champion.document["promoted"],
        }
        if champion
        else None,
        "judge": contest.evaluation.judge,
        "judge_sha256": run_digest(contest.evaluation.judge),
        "test": {**(champion.document["test"] if champion else {"pack": contest.evaluation.pack}), **counts},
        "seed": contest.stage_run.seed,
        "settings": asdict(contest.entry),
        "identity": contest.identity,
    }
