"""Links with their decisions."""

from pathlib import Path

from pipelines.shared.reporting.judged import judged
from tests.pipelines.shared.reporting import world


def test_facts_and_decisions_side_by_side(tmp_path: Path) -> None:
    world.write_crawl(tmp_path / "crawl" / "site")
    world.write_decisions(tmp_path / "filter" / "base")
    links = [*judged(tmp_path, "base", "site")]
    assert [link.reason for link in links] == ["", "", "crawl:http_404", "few_words"]
    assert [link.has_pixels for link in links] == [True, True, False, True]
    assert links[0].captions == ((world.HOSTILE, "web"), ("a grey square", "human"))
    assert links[0].captions_kept == (0, 1) and links[3].captions_kept == ()
    assert (links[0].host, links[0].shard) == ("localhost", "00000")
