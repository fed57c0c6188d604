"""A source's links and its shards; what a crawl makes of them is tested in test_crawl.py."""

from pathlib import Path

import pytest

from pipelines.shared.crawl_settings import CrawlSettings, SourceEntry, fetch_settings
from pipelines.shared.finding import make_plan, page_store
from pipelines.shared.plan import Plan, read_chunk, read_plan
from pipelines.shared.serve import serving
from pipelines.sources.html_site import Config, Source
from tests.pipelines.crawl_site import NUM_LINKS, write_project


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(write_project(tmp_path))


def find(**own: float) -> Plan:
    with serving(Path("site")) as port:
        entry = SourceEntry(samples_per_shard=9, **own)
        return make_plan(
            "toys", Source(Config(start="toys/")), fetch_settings(CrawlSettings(), entry, port), entry, Path("plan")
        )


def test_all_links_and_the_pages_they_came_from() -> None:
    plan = find()
    assert plan.num_links == NUM_LINKS and plan.details == {"num_found": NUM_LINKS, "pages": {"fetched": 2}}
    links = [link for name in plan.chunks for _, link in read_chunk(Path("plan"), name)]
    assert {link.page_url for link in links} == {f"http://localhost/toys/{name}" for name in ("", "two.html")}
    assert read_plan(Path("plan")) == plan


def test_pages_that_fail() -> None:
    Path("site/toys/two.html").unlink()
    assert find().details["pages"] == {"fetched": 1, "http_404": 1}
    with pytest.raises(ValueError, match=r"more than max_failed_frac = 0.4 of its pages failed: {'http_404': 1}"):
        find(max_failed_frac=0.4)


def test_no_store_where_caches_are_off(monkeypatch: pytest.MonkeyPatch) -> None:
    store = page_store("toys")
    assert store and store.folder == Path(".vignette/pages/toys") and store.is_kept
    monkeypatch.setenv("VIGNETTE_NO_CACHE", "1")
    assert page_store("toys") is None
