"""The benchmark of the data engine on small inputs; peers are not installed where tests run."""

import json
import sys

import numpy as np
import pytest

from tests.benchmarks import data, data_contests
from tests.benchmarks.data_contests import RADIUS, Peer, different_pairs, kept_rows, layers, many_hashes
from tests.benchmarks.harness import Case, Contest, Goal, row

OURS = ("", "pillow")  # what needs no environment of the peers


def test_our_side_runs_and_missing_peers_are_said(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(data, "OUT", tmp_path / "bench" / "data.json")
    monkeypatch.setattr(data_contests, "PEERS", data_contests.ROOT / ".no-peers/bin/python")
    data.main(["--quick"])
    printed = capsys.readouterr().out
    rows = json.loads(data.OUT.read_text())
    assert [each["case"] for each in rows] == [case.title for case in data.CASES if case.peer_name in OURS]
    for case in data.CASES:
        message = f"{case.title}: skipped, .no-peers/bin/python is not here: `make bench-data` makes it"
        assert (message in printed) == (case.peer_name not in OURS)


def test_the_rules_keep_what_they_say():
    facts, annotations = layers(3000)
    words, score = (np.array(annotations[name].to_pylist())[:, 0] for name in ("caption_words", "score"))
    width, height = (facts[name].to_numpy() for name in ("width", "height"))
    short, long = np.minimum(width, height), np.maximum(width, height)
    best = score >= np.sort(score)[::-1][900]
    expected = (words >= 3) & (short >= 200) & (long <= 3 * short) & best
    assert kept_rows(facts, annotations).tolist() == np.flatnonzero(expected).tolist()


def test_the_planted_pairs_are_found():
    contest = many_hashes(True)
    pairs = contest.ours()
    assert len(pairs) >= 20 and pairs.shape[1] == 2 and RADIUS == 4
    assert different_pairs(pairs, pairs[::-1]) == 0 and different_pairs(pairs, pairs[1:]) == 1


def test_a_peer_that_ends_is_an_error(monkeypatch):
    monkeypatch.setattr(data_contests, "PEERS", data_contests.Path(sys.executable))
    with pytest.raises(RuntimeError, match="the peer ended instead of saying 'ready'"):
        Peer("no_such_job", hashes=np.zeros(2, dtype=np.uint64))


def test_the_version_is_that_of_the_peers_environment():
    case = Case(title="x", make=lambda quick: Contest(ours=lambda: 1), goal=Goal(most=1), peer_name="no-such-package")
    assert row(case, (1.0, 2.0), "s", case.goal, 1, "9.9").peer_version == "9.9"
