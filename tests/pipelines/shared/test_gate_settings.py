import re

import pytest

from pipelines.shared.gate_settings import read_gate, read_settings

EVALUATIONS = {"clip": {}, "ddpm": {}}
GATE = {"evaluation": "clip", "improve": {"recall": 0.02}}


def params(**changes: object) -> dict:
    return {"evaluations": EVALUATIONS, "retrain": {"gates": {"clip": {**GATE, **changes}}}}


def test_defaults() -> None:
    settings, gates = read_settings({"evaluations": EVALUATIONS})
    assert settings.time_budget_min == 0 and gates == {}
    gate = read_gate(params(guard={"psnr": 1}, report=("rank",)), "clip")
    assert gate.scores == ("recall", "psnr", "rank") and gate.max_excluded_frac == 0.2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"evaluation": "clop"}, r"retrain.gates.clip.evaluation: evaluations has no 'clop' (did you mean clip?)"),
        ({"improve": {}}, "improve must name at least one score"),
        ({"improve": {"recall": -0.1}}, "improve.recall must be a margin of at least 0, got -0.1"),
        ({"improve": {"recall": float("nan")}}, "improve.recall must be a margin"),
        ({"improve": {"recall": "much"}}, "retrain.gates.clip.improve must be"),
        ({"guard": {"psnr": 0}}, "guard.psnr must be a margin above 0, got 0"),
        ({"guard": {"recall": 1}}, "named twice: recall"),
        ({"report": ("x", "x")}, "named twice: x"),
        ({"max_excluded_frac": 1}, "max_excluded_frac must be in [0, 1), got 1"),
        ({"gaurd": {}}, "retrain.gates.clip.gaurd is not a setting (did you mean guard?)"),
    ],
)
def test_mistakes(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        read_settings(params(**changes))


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"time_budget_min": -1}, "time_budget_min must be at least 0, got -1"),
        ({"time_budget_min": float("inf")}, "time_budget_min must be at least 0, got inf"),
        ({"gates": {"Clip Gate": GATE}}, "single hyphens, got 'Clip Gate'"),
        ({"gates": {"clip": None}}, "retrain.gates must be"),
        ({"gate": {}}, "retrain.gate is not a setting (did you mean gates?)"),
    ],
)
def test_mistakes_of_the_section(section: dict, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        read_settings({"evaluations": EVALUATIONS, "retrain": section})


def test_an_unknown_gate() -> None:
    with pytest.raises(ValueError, match=r"retrain\.gates has no 'clap' \(did you mean clip\?\)"):
        read_gate(params(), "clap")
