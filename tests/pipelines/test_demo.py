"""The demo's own parts; the whole of it is what `make demo` shows."""

import json
from pathlib import Path

import pytest

from pipelines import demo
from pipelines.shared.reporting.leaderboard import leaderboard_rows, write_leaderboard
from tests.pipelines.shared.reporting.test_leaderboard import document


def test_top_of_the_leaderboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "REPORT", tmp_path)
    write_leaderboard(tmp_path, leaderboard_rows({"a": document("a", 0.123456), "b": document("b", 2.0)}, ["recall"]))
    lines = demo.leaderboard_top().splitlines()
    assert lines[0].split()[:3] == ["metric", "model", "pack"]
    assert lines[1].split()[:4] == ["recall", "b", "web", "2"]
    assert "0.1235" in lines[2]


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
