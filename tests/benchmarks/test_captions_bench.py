"""The benchmark of captions on small inputs: its form, and that ours and the peers' results agree."""

import json

from tests.benchmarks import captions


def test_every_case_runs_and_agrees_with_its_peer(tmp_path, monkeypatch, capsys):
    """A result that differs from the peer's would raise."""
    monkeypatch.setattr(captions, "OUT", tmp_path / "bench" / "captions.json")
    captions.main(["--quick"])
    rows = json.loads(captions.OUT.read_text())
    assert [each["case"] for each in rows] == [case.title for case in captions.CASES], "none was skipped"
    assert all(each["ours"] > 0 and each["peer"] > 0 and each["peer_version"] for each in rows)
    assert capsys.readouterr().out.count("results differ by") == len(rows)


def test_the_texts_that_are_compared_are_not_all_one():
    """Or equal ones would say little."""
    contest = captions.captioning(True, decoding="greedy", per_image=1)
    assert len(set(contest.ours())) == 2
