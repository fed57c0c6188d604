"""Two builds by hand-made locks: which stages differ, and why."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.shared import reproducing
from pipelines.shared.agreeing import Agreement
from pipelines.shared.builds import Build, NothingPublishedError
from pipelines.shared.machine import Difference
from pipelines.shared.recording import COMPARISON
from pipelines.shared.reproducing import (
    Comparison,
    Stage,
    compare_scores,
    compare_stages,
    is_of_network,
    keep_comparison,
    kept,
    outcome_line,
    verdict_line,
)
from tests.pipelines.shared.test_agreeing import document

Lock = dict[str, dict[str, Any]]


def entry(deps: dict[str, str], outs: dict[str, str], **params: Any) -> dict[str, Any]:
    return {
        "cmd": "python3 -m x",
        "deps": [{"path": path, "md5": md5} for path, md5 in deps.items()],
        "outs": [{"path": path, "md5": md5, "size": 1} for path, md5 in outs.items()],
        "params": {"params.yaml": params},
    }


def lock() -> Lock:
    return {
        "crawl@a": entry({"pipelines/crawl.py": "c1"}, {"data/crawl/a": "a1"}, seed=0),
        "filter@f": entry({"data/crawl/a": "a1", "lists/words.txt": "w1"}, {"data/filter/f": "f1"}),
        "train@m": entry(
            {"data/filter/f": "f1", "models/shared": "m1"},
            {"runs/m": "r1", "timings/m.json": "t1"},
            **{"models.m": {"training": {"steps": 3, "rate": 0.1}}},
        ),
        "evaluate@m": entry({"runs/m": "r1"}, {"data/evaluate/m": "e1", "scores/m.json": "s1"}),
        "report": entry({"scores": "x1", "data/crawl": "y1"}, {"reports": "p1"}),
    }


def found(change: Callable[[Lock], None], missing: tuple[str, ...] = ()) -> dict[str, Stage]:
    """What comes out if this is what differs."""
    here = copy.deepcopy(lock())
    change(here)
    stages = compare_stages(Build(stages=lock(), scores={}), Build(stages=here, scores={}), frozenset(missing))
    assert [stage.name for stage in stages][:5] == list(lock())
    return {stage.name: stage for stage in stages}


def set_out(here: Lock, name: str, path: str, md5: str = "other") -> None:
    """Another output, as all that read it then note."""
    for stage in here.values():
        for each in [*stage["outs"], *stage["deps"]]:
            if each["path"] == path:
                each["md5"] = md5


def set_dep(here: Lock, name: str, path: str) -> None:
    next(dep for dep in here[name]["deps"] if dep["path"] == path)["md5"] = "other"


def test_equal_builds() -> None:
    assert {stage.outcome for stage in found(lambda here: None).values()} == {"equal"}


def test_what_the_clock_decides_is_not_compared() -> None:
    def later(here: Lock) -> None:
        set_out(here, "train@m", "timings/m.json")

    assert found(later)["train@m"].outcome == "equal"


def test_other_bytes_of_equal_inputs_are_a_fault_and_named_first() -> None:
    def fault(here: Lock) -> None:
        set_out(here, "crawl@a", "data/crawl/a")
        set_out(here, "filter@f", "data/filter/f")

    stages = found(fault)
    assert (stages["crawl@a"].cause, stages["crawl@a"].is_first) == ("fault", True)
    assert stages["crawl@a"].outs == ("data/crawl/a (1 bytes, other content)",)
    assert (stages["filter@f"].cause, stages["filter@f"].follows) == ("follows", ("crawl@a",))
    assert not stages["filter@f"].is_first
    assert stages["train@m"].outcome == "equal", "an equal output of other inputs is equal"


def test_a_network_may_round_differently() -> None:
    def rounding(here: Lock) -> None:
        set_out(here, "train@m", "runs/m")
        set_out(here, "evaluate@m", "scores/m.json")

    stages = found(rounding)
    assert (stages["train@m"].cause, stages["train@m"].is_first) == ("rounding", True)
    assert (stages["evaluate@m"].cause, stages["evaluate@m"].follows) == ("follows", ("train@m",))


def test_settings_are_named_by_their_dotted_keys() -> None:
    def other_steps(here: Lock) -> None:
        set_out(here, "train@m", "runs/m")
        here["train@m"]["params"]["params.yaml"]["models.m"]["training"]["steps"] = 4

    stage = found(other_steps)["train@m"]
    assert (stage.cause, stage.changed) == ("changed", ("settings: models.m.training.steps",))


def test_sources_code_inputs_and_commands_are_told_apart() -> None:
    def everything(here: Lock) -> None:
        for path in ("data/crawl/a", "data/filter/f"):
            set_out(here, "", path)
        here["crawl@a"]["params"]["sources.lock"] = {"a": {"day": "2026-01-01"}}
        set_dep(here, "crawl@a", "pipelines/crawl.py")
        set_dep(here, "filter@f", "lists/words.txt")
        here["filter@f"]["cmd"] = "python3 -m y"

    stages = found(everything)
    assert stages["crawl@a"].changed == ("sources: a", "code: pipelines/crawl.py")
    assert stages["filter@f"].changed == ("command: python3 -m y", "inputs: lists/words.txt")
    assert stages["filter@f"].follows == ("crawl@a",) and stages["filter@f"].cause == "changed"


def test_code_that_is_declared_anew_is_other_code() -> None:
    def more(here: Lock) -> None:
        set_out(here, "crawl@a", "data/crawl/a")
        here["crawl@a"]["deps"].append({"path": "pipelines/shared/new.py", "md5": "n"})

    assert found(more)["crawl@a"].changed == ("code: pipelines/shared/new.py",)


def test_the_pages_are_not_asked_why() -> None:
    def pages(here: Lock) -> None:
        set_out(here, "report", "reports")
        set_dep(here, "report", "scores")

    stages = found(pages)
    assert stages["report"].cause == "pages"
    assert comparison(*stages.values()).verdict == "Reproduced"


def test_not_built_only_there_and_only_here() -> None:
    def others(here: Lock) -> None:
        del here["report"]
        here["train@new"] = here["train@m"]

    stages = found(others, missing=("crawl@a",))
    assert stages["crawl@a"].outcome == "not built" and stages["report"].outcome == "not built"
    assert stages["train@new"].outcome == "only here"
    here = Build(stages={}, scores={}, names=lambda name: name != "crawl@a")
    outcomes = {each.name: each.outcome for each in compare_stages(Build(stages=lock(), scores={}), here, frozenset())}
    assert outcomes["crawl@a"] == "only published" and outcomes["filter@f"] == "not built"


def test_what_follows_from_a_stage_that_is_not_built_is_no_fault() -> None:
    def other(here: Lock) -> None:
        set_out(here, "crawl@a", "data/crawl/a")
        set_out(here, "filter@f", "data/filter/f")

    stages = found(other, missing=("crawl@a",))
    assert (stages["filter@f"].cause, stages["filter@f"].follows) == ("follows", ("crawl@a",))


def test_annotators_that_run_a_network() -> None:
    def annotate(*modules: str) -> dict[str, Any]:
        return entry({}, {}, annotators={module: {"module": module} for module in modules})

    assert not is_of_network("annotate@a", annotate("image_stats", "phash", "caption_stats"))
    assert is_of_network("annotate@a", annotate("image_stats", "embeddings"))
    assert not is_of_network("pack@a", entry({}, {}))


def test_scores_of_what_is_not_built_are_not_compared() -> None:
    scores = {"evaluate@m": document()}
    here = Build(stages=lock(), scores={"evaluate@m": document(0.9)})
    assert [each.outcome for each in compare_scores(Build(stages=lock(), scores=scores), here, frozenset())] == [
        "beyond"
    ]
    assert compare_scores(Build(stages=lock(), scores=scores), here, frozenset({"evaluate@m"})) == []


def comparison(*stages: Stage, scores: tuple[str, ...] = (), machines: tuple = ()) -> Comparison:
    rows = [Agreement(row="e/s", outcome=outcome) for outcome in scores]
    return Comparison(revision="a" * 40, day="2026-01-02", stages=stages, scores=rows, machines=machines)


@pytest.mark.parametrize(
    ("outcomes", "scores", "verdict"),
    [
        (["equal", "equal"], ["equal"], "Reproduced"),
        (["equal", "rounding"], ["inside", "rounding"], "Reproduced"),
        (["equal", "rounding"], ["inside", "beyond"], "Not reproduced"),
        (["rounding", "fault"], ["equal"], "Not reproduced"),
        (["changed", "fault"], ["equal"], "Not reproduced"),
        (["changed", "follows"], ["beyond"], "Another build, of other settings, sources or code"),
        (["equal", "only here"], ["equal"], "Another build, of other settings, sources or code"),
        (["equal", "not built"], ["equal"], "Reproduced as far as it is built"),
        (["not built", "only published"], [], "Nothing is built"),
    ],
)
def test_verdicts(outcomes: list[str], scores: list[str], verdict: str) -> None:
    causes = ("changed", "fault", "rounding", "follows")
    stages = [
        Stage(name=name, outcome="different" if name in causes else name, cause=name if name in causes else "")
        for name in outcomes
    ]
    found = comparison(*stages, scores=tuple(scores))
    assert found.verdict == verdict and verdict_line(found).startswith(f"{verdict} (against aaaaaaa): ")


def test_the_line_counts_everything() -> None:
    stages = [Stage(name=f"{number}", outcome="equal") for number in range(31)]
    stages += [Stage(name=f"m{number}", outcome="different", cause="rounding") for number in range(9)]
    scores = ("equal",) * 150 + ("rounding",) * 50 + ("inside",) * 12
    assert verdict_line(comparison(*stages, scores=scores)) == (
        "Reproduced (against aaaaaaa): 31 of 40 stages equal, 9 differ (9 rounding); "
        "212 scores: 150 equal, 50 rounding, 12 inside."
    )


EQUAL = Stage(name="a", outcome="equal")
OTHER_MACHINE = ((Difference(name="processor", there="a", here="b"),),)


def test_the_kept_comparison_changes_only_where_it_says_something_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = {"now": comparison(EQUAL, machines=OTHER_MACHINE)}
    monkeypatch.setattr(reproducing, "published_build", lambda revision: Build(stages={}, scores={}))
    monkeypatch.setattr(reproducing, "compare", lambda published, without: answers["now"])
    path = tmp_path / COMPARISON
    assert keep_comparison(tmp_path)
    first = path.read_bytes()
    assert json.loads(first)["line"].startswith("Reproduced (against aaaaaaa)")
    answers["now"] = Comparison(**{**vars_of(answers["now"]), "revision": "b" * 40, "day": "2026-01-03"})
    assert not keep_comparison(tmp_path) and path.read_bytes() == first, "the commit that holds it is no news"
    answers["now"] = comparison(EQUAL, machines=((),))
    assert keep_comparison(tmp_path) and not keep_comparison(tmp_path), "the machine is the published one again"
    answers["now"] = comparison(Stage(name="a", outcome="different", cause="fault"))
    assert keep_comparison(tmp_path) and json.loads(path.read_bytes())["line"].startswith("Not reproduced")


def test_what_is_kept_is_bounded_and_the_furthest_first() -> None:
    ends = {"published": 0.0, "low": -1.0, "high": 1.0}
    rows = [Agreement(row=f"{number:02}", outcome="inside", here=number / 100, **ends) for number in range(50)]
    rows += [Agreement(row="other", outcome="other protocol", differs=("seed",), here=9.0, **ends)]
    rows += [Agreement(row="beyond", outcome="beyond", here=1.1, **ends), Agreement(row="e", outcome="equal")]
    found = Comparison(revision="a" * 40, day="", stages=[EQUAL], scores=rows, machines=())
    document = kept(found)
    assert [score["row"] for score in document["moved"]] == [
        "beyond",
        *(f"{number:02}" for number in range(49, 30, -1)),
    ]
    assert document["num_moved"] == 52 and document["scores"]["equal"] == 1
    assert document["stages"]["equal"] == ["a"] and document["different"] == []


def vars_of(found: Comparison) -> dict[str, Any]:
    return {name: getattr(found, name) for name in ("stages", "scores", "machines", "here")}


def test_without_a_published_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(revision: str) -> Build:
        raise NothingPublishedError("nothing is published at HEAD: it has no dvc.lock")

    monkeypatch.setattr(reproducing, "published_build", nothing)
    assert not keep_comparison(tmp_path) and not (tmp_path / COMPARISON).exists()
    assert outcome_line() == "Not compared with a published build: nothing is published at HEAD: it has no dvc.lock."


def test_a_damaged_build_is_not_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged(revision: str) -> Build:
        raise ValueError("dvc.lock is not whole")

    monkeypatch.setattr(reproducing, "published_build", damaged)
    with pytest.raises(ValueError, match="not whole"):
        keep_comparison(tmp_path)
