"""A second crawl of a served site: what is asked for again, what comes from the cache; crawls of the web are in
tests/pipelines/test_refresh.py.
"""

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines import crawl
from pipelines.refresh import refresh
from pipelines.shared.crawling import CrawlShard
from pipelines.shared.known import ANSWER_COLUMNS, read_last_crawl
from pipelines.shared.manifests import manifest_digest
from pipelines.shared.params import load_params
from pipelines.shared.records import Caption, Link
from pipelines.shared.recrawling import Decided
from pipelines.shared.serve import QuietHandler, ServedFiles
from pipelines.shared.stage import StageRun
from tests.pipelines.crawl_site import digests, still
from tests.pipelines.web_site import tasks_here

OUT = Path("data/crawl/toys")
RULES = {"/robots.txt"}
PICTURES = {f"{number}.png": still(number) for number in range(12)}


class Served:
    """A project with a site, and what it was asked for.

    Attributes:
        asked: Paths, in order.
        done: Names of the shards that were made.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.done: list[str] = []

    def write(self, pictures: dict[str, bytes], **texts: str) -> None:
        shutil.rmtree("site", ignore_errors=True)
        Path("site").mkdir()
        for name, content in pictures.items():
            Path("site", name).write_bytes(content)
        lines = [f"http://localhost/{name},{texts.get(name[:-4], f'toy {name}')}" for name in pictures]
        Path("list.csv").write_text("\n".join(["url,caption", *lines]))
        refresh()

    def crawl(self) -> dict[str, str]:
        """The digests of what is published; what DVC does to outputs is done first."""
        shutil.rmtree(OUT, ignore_errors=True)
        self.asked.clear()
        self.done.clear()
        crawl.run(StageRun(stage="crawl", key="toys", params=load_params()))
        return digests(OUT)

    def crawl_from_nothing(self) -> dict[str, str]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("VIGNETTE_NO_CACHE", "1")
            return self.crawl()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(
        "sources: {toys: {module: url_list, path: list.csv, serve: site, samples_per_shard: 3}}\n"
    )
    served, work = Served(), CrawlShard.__call__

    def counted(self: CrawlShard, name: str, scratch: Path) -> dict[str, Any]:
        served.done.append(name)
        return work(self, name, scratch)

    monkeypatch.setattr(crawl, "run_tasks", tasks_here)
    monkeypatch.setattr(CrawlShard, "__call__", counted)
    monkeypatch.setattr(QuietHandler, "log_request", lambda handler, *_: served.asked.append(handler.path))
    served.write(PICTURES)
    yield served


def test_an_unchanged_site_is_not_fetched_again(site: Served) -> None:
    first = site.crawl()
    assert len(site.done) == len(first) // 2 > 3 and set(site.asked) == RULES | {f"/{name}" for name in PICTURES}
    assert site.crawl() == first and site.done == [] and not site.asked
    assert site.crawl_from_nothing() == first and len(site.done) > 3


def test_a_changed_picture_is_fetched_and_its_neighbours_are_taken_over(site: Served) -> None:
    first = site.crawl()
    site.write(PICTURES | {"3.png": still(30)})
    second = site.crawl()
    assert set(site.asked) == RULES | {"/3.png"} and len(site.done) == 1
    (name,) = site.done
    changed = {each for each in second if first.get(each) != second[each]}
    assert changed == {f"{name}.tar", f"{name}.parquet", "manifest.json"} and set(first) == set(second)
    assert site.crawl_from_nothing() == second
    site.write(PICTURES)
    assert site.crawl() == first and site.done == [], "the shard as it was before is still there"


def test_added_and_removed_pictures(site: Served) -> None:
    first = site.crawl()
    pictures = {name: content for name, content in PICTURES.items() if name != "7.png"} | {"new.png": still(40)}
    site.write(pictures)
    second = site.crawl()
    assert set(site.asked) == RULES | {"/new.png"}
    assert 1 <= len(site.done) <= 4 and len(site.done) < len(second) // 2
    assert sum(first.get(name) == digest for name, digest in second.items() if name.endswith(".tar")) >= 3
    assert site.crawl_from_nothing() == second


def test_a_changed_caption_is_taken_without_fetching(site: Served) -> None:
    site.crawl()
    site.write(PICTURES, **{"5": "a toy with another text"})
    second = site.crawl()
    assert not site.asked and len(site.done) == 1
    assert site.crawl_from_nothing() == second


def test_other_rules_or_settings_fetch_everything(site: Served) -> None:
    site.crawl()
    Path("site/robots.txt").write_text("User-agent: *\nDisallow: /2.png")
    refresh()
    second = site.crawl()
    assert len(set(site.asked) - RULES) == 11 and "/2.png" not in site.asked
    Path("params.yaml").write_text(f"{Path('params.yaml').read_text()}crawl: {{decode_sec: 50}}\n")
    site.crawl()
    assert len(set(site.asked) - RULES) == 11
    assert site.crawl_from_nothing().keys() == second.keys()


@pytest.mark.parametrize("extension", ["tar", "parquet"])
def test_damaged_files_of_the_earlier_crawl_are_fetched_again(site: Served, extension: str) -> None:
    first = site.crawl()
    with next(OUT.glob(f"*.{extension}")).open("r+b") as handle:  # a hard link to the cache's file
        handle.write(b"?")
    assert site.crawl() == first and len(site.done) == 1 and len(site.asked) > 1
    site.write(PICTURES | {"3.png": still(30)})
    for path in Path(".vignette/cache/files").glob("*/*"):
        path.write_bytes(path.read_bytes()[:-1])
    second = site.crawl()
    assert len(set(site.asked) - RULES) == 12
    assert site.crawl_from_nothing() == second


def test_a_picture_that_changes_while_the_stage_runs_is_not_kept_as_what_it_was(
    site: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def changing(*arguments: Any) -> list[dict[str, Any]]:
        Path("site/3.png").write_bytes(still(30))
        return tasks_here(*arguments)

    monkeypatch.setattr(crawl, "run_tasks", changing)
    wrong = site.crawl()
    monkeypatch.setattr(crawl, "run_tasks", tasks_here)
    site.write(PICTURES)
    right = site.crawl()
    assert set(site.asked) == RULES | {"/3.png"} and right != wrong
    assert site.crawl_from_nothing() == right


def test_too_many_failures_leave_nothing_in_the_cache(site: Served) -> None:
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(text.replace("per_shard: 3", "per_shard: 3, max_failed_frac: 0.1"))
    site.write(PICTURES | {f"{number}.png": b"" for number in range(4)})
    with pytest.raises(ValueError, match="4 of 12 failed"):
        site.crawl()
    assert not list(Path(".vignette").rglob("cache/tasks/*/*")) and read_last_crawl("toys") is None


def test_the_last_crawl_is_written_down(site: Served) -> None:
    site.crawl()
    last = read_last_crawl("toys")
    assert last and last.manifest == manifest_digest(OUT)
    assert [(shard.name, layer.name) for shard, layer in last.files] == [
        (path.name, f"{path.stem}.parquet") for path in sorted(OUT.glob("*.tar"))
    ]


LINK = Link(url="http://localhost/0.png", captions=(Caption(text="a", origin="web"),))
ROW = dict.fromkeys(ANSWER_COLUMNS, "x")


def test_tokens(site: Served) -> None:
    web = Decided(source="toys", made_by="m", noted="n")
    here = dataclasses.replace(web, served=ServedFiles(Path("site"), {}))
    away = dataclasses.replace(LINK, url="http://a.com/0.png")
    assert web.token(LINK, None) is None and web.token(LINK, ROW) == ["x"] * len(ANSWER_COLUMNS)
    assert here.token(LINK, None)[0] == "served" and here.token(away, None) is None
    assert here.token(dataclasses.replace(LINK, url="http://localhost/"), ROW) is None
    for unasked in (dataclasses.replace(LINK, captions=()), dataclasses.replace(LINK, optout="noai")):
        assert web.token(unasked, None) == here.token(unasked, None) == ""


def test_a_shard_is_decided_by_code_name_links_and_answers(tmp_path: Path) -> None:
    def digest(made_by: str = "m", name: str = "00000", links: str = "l", token: Any = "t") -> str:
        path = tmp_path / f"{name}.jsonl"
        path.write_text(links)
        return Decided(source="s", made_by=made_by, noted="n").shard_digest(path, ["", token])

    others = {digest("o"), digest(name="80000"), digest(links="o"), digest(token=["t"])}
    assert len(others) == 4 and digest() not in others and digest() == digest()
    assert digest(token=None) == "", "an answer that is not known"
