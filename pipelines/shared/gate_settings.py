"""Settings of retraining: its section of `params.yaml`, and its gates."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipelines.shared.params import build, suggestion

NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True, kw_only=True, slots=True)
class GateEntry:
    """An entry of `retrain.gates`: what a new run must show to take the champion's place.

    Margins are in the unit of their score and count in the direction in which it is better.

    Attributes:
        evaluation: The entry of `evaluations` by whose settings both are scored; its model is the challenger.
        improve: Scores of which at least one must gain more than its margin, with their margins, at least 0.
        guard: Scores of which none may lose as much as its margin, with their margins, above 0.
        report: Scores that are shown beside these.
        max_excluded_frac: Largest share of the frozen test set that may be left out because a model was trained on it.
    """

    evaluation: str
    improve: Mapping[str, float]
    guard: Mapping[str, float] = field(default_factory=dict)
    report: tuple[str, ...] = ()
    max_excluded_frac: float = 0.2

    def __post_init__(self) -> None:
        if not self.improve:
            raise ValueError("improve must name at least one score: nothing else can promote")
        for score, margin in self.improve.items():
            if not 0 <= margin < math.inf:
                raise ValueError(f"improve.{score} must be a margin of at least 0, got {margin}")
        for score, margin in self.guard.items():
            if not 0 < margin < math.inf:
                raise ValueError(
                    f"guard.{score} must be a margin above 0, got {margin}: no sample shows that nothing was lost"
                )
        names = [*self.improve, *self.guard, *self.report]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"a score has one role, improve, guard or report; named twice: {', '.join(twice)}")
        if not 0 <= self.max_excluded_frac < 1:
            raise ValueError(f"max_excluded_frac must be in [0, 1), got {self.max_excluded_frac}")

    @property
    def scores(self) -> tuple[str, ...]:
        """All scores that it names."""
        return (*self.improve, *self.guard, *self.report)


@dataclass(frozen=True, kw_only=True, slots=True)
class RetrainSettings:
    """The section `retrain` of `params.yaml`.

    Attributes:
        time_budget_min: Minutes after which a run starts no further stage; 0 for no limit.
        gates: A `GateEntry` by name.
    """

    time_budget_min: float = 0.0
    gates: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 <= self.time_budget_min < math.inf:
            raise ValueError(f"time_budget_min must be at least 0, got {self.time_budget_min}")
        if wrong := [name for name in self.gates if not NAME.fullmatch(name)]:
            raise ValueError(f"the name of a gate is lower-case letters, digits and single hyphens, got {wrong[0]!r}")


def read_settings(params: Mapping[str, Any]) -> tuple[RetrainSettings, dict[str, GateEntry]]:
    """The section, and its gates by name.

    Raises:
        ValueError: A setting is wrong, or a gate names an evaluation that does not exist.
    """
    settings = build(RetrainSettings, params.get("retrain") or {}, "retrain")
    gates = {name: build(GateEntry, value, f"retrain.gates.{name}") for name, value in settings.gates.items()}
    evaluations = params.get("evaluations") or {}
    for name, gate in gates.items():
        if gate.evaluation not in evaluations:
            raise ValueError(
                f"params.yaml: retrain.gates.{name}.evaluation: evaluations has no {gate.evaluation!r}"
                f"{suggestion(gate.evaluation, evaluations)}"
            )
    return settings, gates


def read_gate(params: Mapping[str, Any], name: str) -> GateEntry:
    """One gate.

    Raises:
        ValueError: There is no such gate.
    """
    gates = read_settings(params)[1]
    if name not in gates:
        raise ValueError(f"params.yaml: retrain.gates has no {name!r}{suggestion(name, gates)}")
    return gates[name]
