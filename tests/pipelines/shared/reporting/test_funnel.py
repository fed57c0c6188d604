"""Every sample of a filter is counted once."""

from pathlib import Path

from pipelines.shared.reporting.funnel import funnels
from tests.pipelines.shared.reporting import world


def test_nothing_is_lost(tmp_path: Path) -> None:
    world.write_decisions(tmp_path / "filter" / "base")
    ((funnel,),) = funnels(tmp_path, {"base": {"sources": ("site",)}}).values()
    assert (funnel.found, funnel.fetched, funnel.kept) == (4, 3, 2)
    assert funnel.losses == (("crawl:http_404", 1), ("few_words", 1))
    assert funnel.kept + sum(count for _, count in funnel.losses) == funnel.found
    assert funnel.splits == {"train": 1, "val": 0, "test": 1}
