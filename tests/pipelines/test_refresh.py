"""`vignette refresh`: on this machine's folders and lists, and on a web server that counts what it is asked."""

import json
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from pipelines import crawl
from pipelines.refresh import main, refresh
from pipelines.shared.files import write_json
from pipelines.shared.layers import read_layer
from pipelines.shared.lock import LOCK_FILE
from pipelines.shared.manifests import MANIFEST, Counts, read_manifest, write_manifest
from pipelines.shared.params import load_params
from pipelines.shared.stage import StageRun
from tests.pipelines.crawl_site import digests, still, write_project
from tests.pipelines.small_job import command
from tests.pipelines.web_site import WebSite, tasks_here, toy, web_project

ROOT = Path(__file__).resolve().parents[2]
PARAMS = """
sources:
  site: {module: html_site, serve: site, start: ""}
  list: {module: url_list, path: links.csv}
  web: {module: html_site, start: "https://a.example/"}
"""
OUT = Path("data/crawl/web")
TOYS = [f"t{number}" for number in range(24)]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("site").mkdir()
    Path("site/index.html").write_text("x")
    Path("links.csv").write_text("url,caption\n")
    Path("params.yaml").write_text(PARAMS)


def lock() -> dict:
    return json.loads(LOCK_FILE.read_text())


def noted(key: str | None = None) -> list[str]:
    return [summary.source for summary in refresh(key) if summary.is_noted]


def test_all_sources(project: None) -> None:
    assert noted() == ["site", "list", "web"]
    assert list(lock()) == ["list", "site", "web"]
    assert set(lock()["site"]) == {"local"} and set(lock()["list"]["local"]) == {"links.csv"}
    assert lock()["web"]["local"] == {} and re.fullmatch(r"\d{4}-\d\d-\d\d", lock()["web"]["day"])
    assert noted() == []


def test_one_source_leaves_the_others(project: None) -> None:
    refresh()
    Path("site/index.html").write_text("y")
    Path("links.csv").write_text("url,caption\nhttp://a/,x\n")
    before = lock()
    assert noted("list") == ["list"]
    assert lock()["list"] != before["list"] and lock()["site"] == before["site"]


def test_sources_that_are_gone_are_dropped_by_a_full_refresh(project: None) -> None:
    refresh()
    Path("params.yaml").write_text(PARAMS.replace("  list:", "  other:"))
    refresh()
    assert list(lock()) == ["other", "site", "web"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("serve: site", "serve: none", "serve: none is not a folder"),
        ("path: links.csv", "path: none.csv", "none.csv does not exist"),
        ("path: links.csv", "path: links.doc", "path must end in one of"),
    ],
)
def test_mistakes(project: None, old: str, new: str, message: str) -> None:
    Path("params.yaml").write_text(PARAMS.replace(old, new))
    with pytest.raises(ValueError, match=message):
        refresh()
    assert not LOCK_FILE.exists()


def test_unknown_source(project: None) -> None:
    with pytest.raises(ValueError, match=r"sources.sight does not exist .did you mean site"):
        refresh("sight")


def test_command(project: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr("sys.argv", ["vignette refresh"])
    main()
    assert capsys.readouterr().out == "site: not crawled yet\nlist: not crawled yet\nweb: not crawled yet\n"
    monkeypatch.setattr("sys.argv", ["vignette refresh", "list", "--json"])
    main()
    (said,) = json.loads(capsys.readouterr().out)
    numbers = dict.fromkeys(("new", "changed", "gone", "unchanged", "not_reached"), 0)
    words = {"problem": "", "losses": "", "keeps_none": False}
    assert said == {"source": "list", "is_crawled": False, "is_noted": False, **words, **numbers}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[WebSite]:
    with web_project(tmp_path) as site:
        site.put_toys(TOYS)
        yield site


def run_crawl() -> dict[str, str]:
    """Crawl; returns the digests of what is published."""
    if not LOCK_FILE.exists():
        refresh()
    crawl.run(StageRun(stage="crawl", key="web", params=load_params()))
    return digests(OUT)


def said() -> str:
    return "\n".join(map(str, refresh()))


def state() -> dict[str, str]:
    """All files of the project but those by which processes wait for each other."""
    return {name: value for name, value in digests(Path()).items() if not re.match(r"\.vignette/(pace|locks)/", name)}


def reasons() -> dict[str, str]:
    rows = [row for info in read_manifest(OUT).layers for row in read_layer(OUT, info).to_pylist()]
    return {row["url"].rpartition("/")[2].removesuffix(".png"): row["reason"] for row in rows}


def test_new_changed_and_gone(site: WebSite, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    assert said() == "web: not crawled yet" and not site.requests(), "nothing is asked before there is a crawl"
    first = run_crawl()
    assert Counter(site.requests().values()) == {200: 2 + 24}
    before = LOCK_FILE.read_bytes()
    assert said() == "web: 0 new, 0 changed, 0 gone, 24 unchanged"
    assert Counter(site.requests().values()) == {304: 2 + 24}, "pages and pictures are asked, none is sent"
    assert LOCK_FILE.read_bytes() == before

    site.files["/toys/t3.png"] = toy("another")
    site.files["/toys/t4.png"] = 404
    site.put_toys([*(name for name in TOYS if name != "t20"), "fresh"])
    everything = state()
    assert str(refresh(dry_run=True)[0]) == "web: 1 new, 1 changed, 2 gone, 21 unchanged"
    assert state() == everything, "a dry run leaves nothing behind"
    site.requests()
    assert said() == "web: 1 new, 1 changed, 2 gone, 21 unchanged"
    asked = site.requests()
    assert {path for path, status in asked.items() if status == 200} == {"/toys/two.html", "/toys/t3.png"}
    assert asked["/toys/t4.png"] == 404 and "/toys/fresh.png" not in asked and "/toys/t20.png" not in asked
    assert LOCK_FILE.read_bytes() != before
    entry = lock()["web"]
    assert set(entry) == {"local", "day", "links", "changes"} and entry["links"] == 24

    after = LOCK_FILE.read_bytes()
    assert said() == "web: 1 new, 1 changed, 2 gone, 21 unchanged", "said of the last crawl until there is another"
    assert site.requests()["/toys/t3.png"] == 304, "what was seen once is not sent again"
    assert LOCK_FILE.read_bytes() == after

    caplog.clear()
    second = run_crawl()
    assert site.requests() == {
        "/toys/": 304,
        "/toys/two.html": 304,
        "/toys/t3.png": 200,
        "/toys/t4.png": 404,
        "/toys/fresh.png": 200,
    }
    tars = {name for name in first.keys() | second.keys() if name.endswith(".tar")}
    untouched = {name for name in tars if first.get(name) == second.get(name)}
    num_shards = len(read_manifest(OUT).shards)
    assert f"crawl web: {len(untouched)} of {num_shards} shards come from the cache" in caplog.text
    assert untouched == {f"{name}.tar" for name in ("00000", "60000", "80000", "a0000", "c0000")}
    assert tars - untouched == {f"{name}.tar" for name in ("20000", "40000", "70000")}
    assert reasons()["t4"] == "http_404" and reasons()["fresh"] == reasons()["t3"] == "" and "t20" not in reasons()

    assert said() == "web: 0 new, 0 changed, 0 gone, 24 unchanged" and LOCK_FILE.read_bytes() == after
    site.requests()
    shutil.rmtree(OUT)
    assert run_crawl() == second and set(site.requests()) == {"/toys/", "/toys/two.html"}, "history is replayed"
    monkeypatch.setenv("VIGNETTE_NO_CACHE", "1")
    shutil.rmtree(".vignette")
    assert run_crawl() == second, "a build from nothing"
    assert Counter(site.requests().values()) == {200: 2 + 23, 404: 1}


def test_what_goes_wrong_is_unchanged(site: WebSite) -> None:
    site.is_dated = True
    run_crawl()
    before = LOCK_FILE.read_bytes()
    site.files |= {"/toys/t1.png": 503, "/toys/t2.png": 403, "/toys/two.html": 500}
    site.requests()
    assert said() == "web: 0 new, 0 changed, 0 gone, 24 unchanged (14 not reached)", "12 are on the second page"
    assert Counter(site.requests().values()) == {304: 1 + 10, 503: 1, 403: 1, 500: 1}
    assert LOCK_FILE.read_bytes() == before
    site.files["/robots.txt"] = 503
    assert not any(summary.is_noted for summary in refresh() if summary.problem), "nothing at all can be read"
    assert LOCK_FILE.read_bytes() == before


def test_a_new_refusal_is_a_change(site: WebSite) -> None:
    run_crawl()
    site.headers["/toys/t5.png"] = {"X-Robots-Tag": "noai"}
    site.files["/robots.txt"] = b"User-agent: *\nDisallow: /toys/t6.png"
    assert said() == "web: 0 new, 2 changed, 0 gone, 22 unchanged"
    site.requests()
    run_crawl()
    assert reasons()["t5"] == "optout:noai" and reasons()["t6"] == "robots_denied"
    assert set(site.requests()) == {"/toys/", "/toys/two.html", "/toys/t5.png"}


def test_a_failure_that_may_pass_is_tried_again_by_the_next_crawl(site: WebSite) -> None:
    site.files["/toys/t7.png"] = 503
    run_crawl()
    assert reasons()["t7"] == "http_503"
    site.requests()
    site.files["/toys/t7.png"] = toy("t7")
    run_crawl()
    assert reasons()["t7"] == "" and set(site.requests()) == {"/toys/", "/toys/two.html", "/toys/t7.png"}
    site.requests()
    assert said() == "web: 0 new, 0 changed, 0 gone, 24 unchanged"


def test_other_settings_fetch_everything(site: WebSite) -> None:
    run_crawl()
    site.requests()
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(text.replace("samples_per_shard: 4", "samples_per_shard: 6"))
    run_crawl()
    assert set(site.requests()) == {"/toys/", "/toys/two.html"}, "other shards of the same rows"
    Path("params.yaml").write_text(text.replace("deadline_sec: 5", "deadline_sec: 6"))
    run_crawl()
    assert len(site.requests()) == 2 + 24


def test_a_problem_is_said_and_the_others_are_noted(
    site: WebSite, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    run_crawl()
    before = lock()["web"]
    site.files["/toys/"] = 500
    Path("links.csv").write_text("url,caption\n")
    Path("params.yaml").write_text(Path("params.yaml").read_text() + "  list: {module: url_list, path: links.csv}\n")
    monkeypatch.setattr("sys.argv", ["vignette refresh"])
    with pytest.raises(SystemExit, match=r"vignette refresh: web: start page .* cannot be read: http_500"):
        main()
    assert capsys.readouterr().out == "web: not compared\nlist: not crawled yet\n"
    assert lock()["web"] == before and "list" in lock()


def test_the_served_site_is_compared_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(crawl, "run_tasks", tasks_here)
    Path("site").mkdir()
    Path("params.yaml").write_text(
        'sources: {web: {module: html_site, serve: site, start: "", samples_per_shard: 3}}\n'
    )
    names = [f"{number}.png" for number in range(8)]

    def write(pictures: dict[str, bytes]) -> None:
        for name, content in pictures.items():
            Path("site", name).write_bytes(content)
        Path("site/index.html").write_text("".join(f'<img src="{name}" alt="toy {name}">' for name in pictures))

    pictures = {name: still(number) for number, name in enumerate(names)}
    write(pictures)
    assert said() == "web: not crawled yet"
    first = run_crawl()
    assert said() == "web: 0 new, 0 changed, 0 gone, 8 unchanged"
    del pictures["3.png"]
    write({**pictures, "4.png": still(40), "new.png": still(50)})
    Path("site/6.png").unlink()
    assert said() == "web: 1 new, 1 changed, 2 gone, 5 unchanged"
    assert set(lock()["web"]) == {"local"}
    assert run_crawl() != first
    assert said() == "web: 0 new, 0 changed, 0 gone, 8 unchanged"
    write_json(OUT / MANIFEST, {"schema_version": 1})
    assert said() == "web: not crawled yet", "an older program's crawl is made anew"


def test_dvc_crawls_only_the_sources_that_changed(tmp_path: Path) -> None:
    """The dependencies on parameters of the project's own crawl stage, with a command that only counts."""
    crawl_stage = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["crawl"]
    assert crawl_stage["do"]["params"][-1] == {"sources.lock": ["${key}"]}
    assert LOCK_FILE.name not in crawl_stage["do"]["deps"]
    do = {name: crawl_stage["do"][name] for name in ("params", "outs")}
    do["cmd"] = "mkdir -p data/crawl && echo run >> ${key}.log && cp ${key}.log data/crawl/${key}"
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"crawl": {**crawl_stage, "do": do}}}))
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"seed": 0, "crawl": {}, "sources": {"a": {}, "b-c": {}}}))
    entries = {"a": {"local": {"site": "1"}}, "b-c": {"local": {}, "day": "2030-01-01", "links": 3}}
    (tmp_path / "sources.lock").write_text(json.dumps(entries))
    command(tmp_path, "dvc", "init", "--no-scm", "--quiet")
    command(tmp_path, "dvc", "repro", "--quiet")
    entries["b-c"]["day"] = "2030-02-03"
    (tmp_path / "sources.lock").write_text(json.dumps(entries))
    command(tmp_path, "dvc", "repro", "--quiet")
    assert (tmp_path / "a.log").read_text() == "run\n" and (tmp_path / "b-c.log").read_text() == "run\nrun\n"


def test_a_crawl_that_kept_nothing_is_not_fine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(write_project(tmp_path))
    monkeypatch.setattr(crawl, "run_tasks", tasks_here)
    refresh()
    crawl.run(StageRun(stage="crawl", key="toys", params=load_params()))
    folder = Path("data/crawl/toys")
    lost = Counts(num_in=22, kept=0, rejected={"url_refused": 22})
    write_manifest(folder, replace(read_manifest(folder), counts=lost))
    monkeypatch.setattr("sys.argv", ["vignette refresh"])
    with pytest.raises(SystemExit, match="toys: of the last crawl none of 22 links was kept: url_refused 22"):
        main()
    assert capsys.readouterr().out.endswith("unchanged; of the last crawl none of 22 links was kept: url_refused 22\n")
