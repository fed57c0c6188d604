"""`cards/<run>.md`: the card that training wrote into the run, and the scores that it could not know."""

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from pipelines.shared.comparing import Scored
from pipelines.shared.files import write_bytes
from pipelines.shared.inert_texts import markdown_cell
from pipelines.shared.reporting.leaderboard import ranked, shown
from pipelines.shared.reporting.models import method
from pipelines.shared.reporting.trainings import Training
from pipelines.shared.training.card import CARD_FILE

FENCE = "---\n"
OTHER_TASK = "other"


@dataclass(frozen=True, kw_only=True)
class ScoredRun:
    """What a card says of a run.

    Attributes:
        key: Its key.
        training: How it came about.
        evaluations: All of it.
        rows: Leaderboard rows of these.
        licences: Licence by source of its pack; empty text where it is not stated.
    """

    key: str
    training: Training
    evaluations: Sequence[Scored]
    rows: Sequence[Mapping[str, Any]]
    licences: Mapping[str, str]


def write_cards(
    folder: Path,
    runs: Path,
    models: Iterable[Scored],
    trainings: Mapping[str, Training],
    rows: Sequence[Mapping[str, Any]],
    licences: Mapping[str, Mapping[str, str]],
) -> None:
    """Write `<run>.md` for every run that is scored.

    Args:
        folder: Where the cards go.
        runs: Where runs are.
        models: Evaluations; a run may have several.
        trainings: By run.
        rows: All leaderboard rows.
        licences: For each pack the licence of each of its sources; empty text where it is not stated.
    """
    evaluations: dict[str, list[Scored]] = {}
    for each in models:
        evaluations.setdefault(each.document["model"], []).append(each)
    for key, own in evaluations.items():
        run = ScoredRun(
            key=key,
            training=trainings[key],
            evaluations=own,
            rows=[row for row in rows if row["model"] == key],
            licences=licences.get(trainings[key].pack, {}),
        )
        write_bytes(folder / f"{key}.md", scored_card(runs, run).encode())


def scored_card(runs: Path, run: ScoredRun) -> str:
    """A run's card with its scores, as Markdown with the front matter that Hugging Face's hub reads.

    Raises:
        ValueError: The run has no card, or one without front matter.
    """
    path = runs / run.key / CARD_FILE
    if not path.is_file():
        raise ValueError(f"{path} is missing: `vignette train {run.key}` writes it")
    begin, fence, rest = path.read_text(encoding="utf-8").partition(FENCE)
    front, end, body = rest.partition(FENCE)
    if begin or not fence or not end:
        raise ValueError(f"{path} must begin with front matter between two lines of ---")
    heading, _, body = body.strip().partition("\n")
    front_matter = _front_matter(YAML(typ="safe", pure=True).load(front), run)
    module = run.evaluations[0].document["module"]
    parts = [heading, method(module), body.strip(), *_cost(run.training), *_scores(run), *_limits(run)]
    return f"{FENCE}{front_matter}{FENCE}\n" + "\n\n".join(parts) + "\n"


def _front_matter(own: dict[str, Any], run: ScoredRun) -> str:
    document = {
        **own,
        **({"license": sorted({*run.licences.values()})} if run.licences and all(run.licences.values()) else {}),
        "datasets": [run.training.pack],
        "metrics": sorted({metric for each in run.evaluations for metric in each.document["groups"]}),
        "model-index": [{"name": run.key, "results": _results(own.get("pipeline_tag", OTHER_TASK), run)}],
    }
    handle = io.StringIO()
    yaml = YAML()
    yaml.width = 1 << 20
    yaml.dump(_quoted(document), handle)
    return handle.getvalue()


def _results(task: str, run: ScoredRun) -> list[dict[str, Any]]:
    return [
        {
            "task": {"type": task, "name": metric},
            "dataset": {
                "type": each.document["pack"],
                "name": each.document["pack"],
                "split": "test",
                "revision": each.document["samples_sha256"],
            },
            "metrics": [
                {"type": score, "name": score, "value": each.document["scores"][score]["value"]} for score in scores
            ],
        }
        for each in run.evaluations
        for metric, scores in each.document["groups"].items()
    ]


def _quoted(value: Any) -> Any:
    """The same with every text in double quotes, which escape whatever is in it and keep `no` a word."""
    if isinstance(value, str):
        return DoubleQuotedScalarString(value)
    if isinstance(value, Mapping):
        return {name: _quoted(item) for name, item in value.items()}
    return [_quoted(item) for item in value] if isinstance(value, list | tuple) else value


def _cost(training: Training) -> list[str]:
    took = f" in {training.seconds:,.0f} s on {training.device}" if training.seconds else ""
    return [
        "## Cost",
        f"{training.num_trained_parameters:,} of {training.num_parameters:,} parameters were trained on "
        f"{training.samples_seen:,} samples, {training.num_samples:,} different ones{took}.",
    ]


def _scores(run: ScoredRun) -> list[str]:
    lines = ["| evaluation | score | value | 95% interval | rank | n |", "|---|---|--:|---|---|--:|"]
    lines += [
        f"| {markdown_cell(row['evaluation'])} | {markdown_cell(row['metric'])} | {shown(row['value'])} "
        f"| {shown(row['low'])} to {shown(row['high'])} | {ranked(row)} | {row['n']} |"
        for row in run.rows
    ]
    about = (
        "On held-out samples. A rank is an interval: of comparable models, those shown to be better and those shown to "
        "be worse. `vignette replay <evaluation>/<score>` computes a row again."
    )
    return ["## Scores", about, "\n".join(lines)]


def _limits(run: ScoredRun) -> list[str]:
    marks = dict.fromkeys(row["marked"] for row in run.rows if row["marked"])
    unknown = [source for source, licence in run.licences.items() if not licence]
    limits = [
        "The test samples come from the sources that the training samples come from; of other pictures the scores say "
        "little.",
        "One training: the intervals tell of the choice of test samples, not of another seed's model.",
        *(f"A score is not independent of the training: {mark}." for mark in marks),
        *([f"The licence of {', '.join(unknown)} is not stated."] if unknown else []),
    ]
    return ["## Limits", "\n".join(f"- {limit}" for limit in limits)]
