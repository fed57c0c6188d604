"""The benchmark of metrics on small inputs: its form, and that ours and the peers' results agree."""

import json
from dataclasses import replace

import pytest
import torch

from tests.benchmarks import metrics
from tests.benchmarks.harness import MEMORY, Case, Contest, Goal, peak_mib, row, run_cases

FIELDS = {"case", "ours", "peer", "peer_name", "peer_version", "unit", "ratio", "goal", "n"}
QUICK = Case(title="counting", make=lambda quick: Contest(ours=lambda: 1), goal=Goal(most=10))


def test_every_case_runs_and_agrees_with_its_peer(tmp_path, monkeypatch, capsys):
    """A result that differs from the peer's would raise."""
    monkeypatch.setattr(metrics, "OUT", tmp_path / "bench" / "metrics.json")
    before = torch.get_num_threads()
    metrics.main(["--quick"])
    assert torch.get_num_threads() == before
    rows = json.loads(metrics.OUT.read_text())
    assert [each["case"] for each in rows] == [case.title for case in metrics.CASES], "none was skipped"
    printed = capsys.readouterr().out
    for each in rows:
        assert set(each) == FIELDS
        assert each["ours"] > 0 and each["n"] == 1
        assert each["unit"] in {"s", "images/s"}
        assert each["goal"].startswith(("ratio >= ", "ours <= ")) and each["goal"].endswith((", met", ", missed"))
        assert f"| {each['case']} |" in printed
        if each["peer_name"]:
            better = each["ours"] / each["peer"] if each["unit"] == "images/s" else each["peer"] / each["ours"]
            assert each["ratio"] == pytest.approx(better, rel=1e-2)
            assert each["peer_version"]
        else:
            assert (each["peer"], each["ratio"], each["peer_version"]) == (None, None, "")
    assert printed.count("results differ by") == len([each for each in rows if each["peer_name"]])


def test_another_result_is_an_error():
    contest = Contest(ours=lambda: 1.0, peer=lambda: 1.1, difference=lambda a, b: abs(a - b), tolerance=0.05)
    case = replace(QUICK, make=lambda quick: contest, peer_name="numpy")
    with pytest.raises(ValueError, match=r"counting: results differ by 0.1, more than 0.05: \[1.0, 1.1\]"):
        list(run_cases([case], (), quick=True, repeats=1))
    undefined = replace(contest, difference=lambda a, b: float("nan"))
    with pytest.raises(ValueError, match="results differ by nan"):
        list(run_cases([replace(case, make=lambda quick: undefined)], (), quick=True, repeats=1))


def test_sides_alternate_after_a_round_of_warming_up():
    order = []
    contest = Contest(ours=lambda: order.append("ours"), peer=lambda: order.append("peer"))
    case = replace(QUICK, make=lambda quick: contest, peer_name="numpy")
    ((found, _),) = run_cases([case], (), quick=False, repeats=3)
    assert order == ["ours", "peer"] * 4
    assert found.n == 3


def test_a_missing_peer_is_said_and_not_counted(capsys):
    def make(quick):
        raise ImportError("no module named peer")

    assert not list(run_cases([replace(QUICK, make=make)], (), quick=True, repeats=1))
    assert capsys.readouterr().out == "counting: skipped, no module named peer\n"


@pytest.mark.parametrize(
    ("goal", "values", "unit", "said"),
    [
        (Goal(least_ratio=2), (1.0, 2.0), "s", "ratio >= 2, met"),
        (Goal(least_ratio=2), (1.0, 1.9), "s", "ratio >= 2, missed"),
        (Goal(least_ratio=2), (2.0, 1.0), "images/s", "ratio >= 2, met"),
        (Goal(most=0.4), (0.4,), "s", "ours <= 0.4, met"),
        (Goal(most=100), (101.0, 5000.0), MEMORY, "ours <= 100, missed"),
    ],
)
def test_goals(goal, values, unit, said):
    case = replace(QUICK, peer_name="numpy" if len(values) > 1 else "")
    assert row(case, values, unit, goal, 1).goal == said


def test_peak_of_memory():
    """Also of memory that was given back before the end; and not of what was there before."""
    there = torch.ones(64 * 2**18)  # 64 MiB
    assert 60 < peak_mib(lambda: torch.ones(64 * 2**18).sum()) < 90
    assert peak_mib(lambda: there[:10].sum()) < 10
