from pathlib import Path

import pytest

from pipelines.shared.recording import write_comparison
from pipelines.shared.reporting.reproduction import MAX_SCORES, reproduction
from tests.pipelines.shared.reporting.world import write_kept_comparison


def test_nothing_was_kept(tmp_path: Path) -> None:
    assert reproduction(tmp_path) is None


def test_what_was_kept_by_outcome(tmp_path: Path) -> None:
    write_kept_comparison(tmp_path)
    found = reproduction(tmp_path)
    assert found
    assert found.stages["different"] == ["crawl@site", "filter@base", "train@first"]
    assert found.stages["equal"] == ["pack@web"] and found.stages["not built"] == ["train@third"]
    assert [stage["name"] for stage in found.different] == found.stages["different"]
    assert found.counts == {"inside": 2, "beyond": 1, "other protocol": 1, "equal": 1}
    assert [score["row"] for score in found.moved] == ["second/a", "first/b", "first/a", "second/b"]


def test_what_speaks_of_other_scores_is_left_out(tmp_path: Path) -> None:
    write_kept_comparison(tmp_path)
    (tmp_path / "new.json").write_text("{}")
    assert reproduction(tmp_path) is None


def test_only_the_furthest_are_listed(tmp_path: Path) -> None:
    scores = [
        {"row": f"{number:02}", "outcome": "inside", "published": 0.0, "low": -1.0, "high": 1.0, "here": number / 100}
        for number in range(50)
    ]
    document = {"line": "", "revision": "", "day": "", "stages": [], "machines": []}
    write_comparison(tmp_path, document | {"scores": [score | {"differs": []} for score in scores]})
    found = reproduction(tmp_path)
    assert found and found.num_moved == 50
    assert [score["row"] for score in found.moved] == [f"{number:02}" for number in range(49, 49 - MAX_SCORES, -1)]


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    write_kept_comparison(tmp_path)
    (tmp_path / "build/reproduced.json").write_text("{")
    with pytest.raises(ValueError, match="is not a comparison"):
        reproduction(tmp_path)
