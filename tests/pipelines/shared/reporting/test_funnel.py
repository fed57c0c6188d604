"""Every sample of a filter is counted once."""

from pathlib import Path

import pytest

from pipelines.shared.reporting.funnel import funnels
from tests.pipelines.builders import build_world, world_items


def test_nothing_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    params = build_world(("annotate", "filter"))
    made = {funnel.source: funnel for funnel in funnels(tmp_path / "data", params["filters"])["base"]}
    for source, items in world_items().items():
        funnel = made[source]
        assert funnel.found == len(items)
        assert funnel.kept + sum(count for _, count in funnel.losses) == funnel.found
        assert sum(funnel.splits.values()) == funnel.kept
    assert made["web"].fetched == made["web"].found - 2
    assert dict(made["web"].losses)["crawl:http_404"] == 1
