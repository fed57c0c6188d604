"""The demo's own parts; the whole of it is what `make demo` shows."""

import json
from pathlib import Path

import pytest

from pipelines import demo
from pipelines.shared.reporting.leaderboard import write_leaderboard
from tests.pipelines.shared.reporting.test_leaderboard import rows_of
from tests.pipelines.shared.reporting.world import RECALL, scored


def test_top_of_the_leaderboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "REPORT", tmp_path)
    rows = rows_of(scored("a", recall=0.125), scored("b", recall=0.8), columns=(RECALL,))
    write_leaderboard(tmp_path, rows)
    lines = demo.leaderboard_top().splitlines()
    assert lines[0].split()[:3] == ["metric", "model", "pack"]
    assert lines[1].split()[:4] == [RECALL, "b", "web", "0.8"]
    assert "0.125" in lines[2]


def test_a_site_that_cannot_be_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    params = {"scale": "packages", "sources": {"a": {"serve": "data/sites/packages"}}}
    with pytest.raises(ValueError, match="data/sites/packages could not be built"):
        demo.build_sites(params)


def test_the_embedded_site_needs_no_building() -> None:
    demo.build_sites({"scale": "debug", "sources": {"a": {"serve": "examples/site"}, "b": {"start": "x"}}})


def test_only_local_or_unknown_sources_are_refreshed(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(demo, "refresh", seen.append)
    monkeypatch.setattr(demo, "read_lock", lambda: json.loads('{"remote": {}}'))
    demo.refresh_sources({"sources": {"local": {"serve": "examples/site"}, "remote": {}, "new": {}}})
    assert seen == ["local", "new"], "a site on the web is crawled anew only when a refresh is asked for"
