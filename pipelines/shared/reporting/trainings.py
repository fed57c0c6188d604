"""What stands behind a row: the data and the cost of its training, and whether what scores it took part in that."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.shared.comparing import Scored
from pipelines.shared.runs import read_run


@dataclass(frozen=True, kw_only=True, slots=True)
class Training:
    """How a run came about.

    Attributes:
        pack: The pack that it was trained on.
        captions: Mixing ratio by origin; empty where captions were not read.
        num_samples: Samples of the training split.
        num_parameters: All of the model's.
        num_trained_parameters: Those that were trained.
        samples_seen: Steps times batch size.
        seconds: Of the training, as recorded; None where it was not.
        device: What it ran on; empty where that was not recorded.
        runs: sha256 of the run's weights and of those that it builds on, by key.
        packaged: sha256 of the packaged pretrained files that it or they started from, by `package/path`.
    """

    pack: str
    captions: Mapping[str, float]
    num_samples: int
    num_parameters: int
    num_trained_parameters: int
    samples_seen: int
    seconds: float | None = None
    device: str = ""
    runs: Mapping[str, str] = field(default_factory=dict)
    packaged: Mapping[str, str] = field(default_factory=dict)


def read_training(runs: Path, key: str, records: Sequence[Mapping[str, Any]]) -> Training:
    """How a run came about, from its `config.json` and the leaderboard's records.

    Args:
        runs: Where runs are.
        key: Key of the run.
        records: Of the leaderboard, the oldest first.

    Raises:
        ValueError: The run, or one that it builds on, is missing.
    """
    document = read_run(key, runs)
    cost = next((each for each in reversed(records) if _is_of(each, document) and each["train_seconds"]), None)
    lineage = [document]
    while base := lineage[-1]["base"]:
        lineage.append(read_run(base["key"], runs))
    return Training(
        pack=document["pack"]["key"],
        captions=document["pack"]["captions"],
        num_samples=document["pack"]["num_train_samples"],
        num_parameters=document["num_parameters"],
        num_trained_parameters=document["num_trained_parameters"],
        samples_seen=document["step"] * document["training"]["batch_size"],
        seconds=cost["train_seconds"] if cost else None,
        device=cost["device"] if cost else "",
        runs={each["key"]: each["model_sha256"] for each in lineage},
        packaged={name: sha256 for each in lineage for name, sha256 in each["packaged_sha256"].items()},
    )


def mark(scored: Scored, metric: str, model: Training, judge: Training) -> str:
    """What a reader must know of a row: that it is out of date, or that detector or judge took part in the training.

    Args:
        scored: The evaluation.
        metric: One of its metrics.
        model: Training of the model.
        judge: Training of the evaluation's judge.

    Returns:
        One sentence; empty where there is nothing.
    """
    own = scored.document["model_sha256"]
    if own != model.runs.get(scored.document["model"], own):
        return "out of date: the run has other weights now than those that were scored"
    protocol = scored.document["protocols"][metric]
    detector = protocol["detector"]
    if protocol.get("detector_sha256") in model.packaged.values():
        return f"the detector {detector} is a part that the model started from"
    if not detector or detector != scored.document["judge"]:
        return ""
    if scored.document["judge_sha256"] == scored.document["model_sha256"]:
        return f"the judge {detector} is the model itself"
    if scored.document["judge_sha256"] in model.runs.values():
        return f"the model builds on its judge {detector}"
    shared = {name.partition("/")[0] for name, sha256 in judge.packaged.items() if sha256 in model.packaged.values()}
    return f"the judge {detector} and the model both started from {', '.join(sorted(shared))}" if shared else ""


def _is_of(record: Mapping[str, Any], document: Mapping[str, Any]) -> bool:
    scored = record["document"]
    return bool(scored["model"] == document["key"] and scored["model_sha256"] == document["model_sha256"])
