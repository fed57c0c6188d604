"""The stage on a site of its own: what is published, what is refused, and equal bytes however it is run."""

import csv
import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import webdataset

from pipelines import crawl
from pipelines.refresh import refresh
from pipelines.shared.crawl_settings import CrawlSettings
from pipelines.shared.layers import read_layer
from pipelines.shared.lock import LOCK_FILE
from pipelines.shared.manifests import read_manifest
from pipelines.shared.params import load_params
from pipelines.shared.plan import canonical_url
from pipelines.shared.records import sample_key
from pipelines.shared.sandbox import process_sandbox
from pipelines.shared.shards import read_shard
from pipelines.shared.stage import StageRun
from tests.pipelines.crawl_site import NUM_LINKS, REASONS, digests, wave, write_project

OUT = Path("data/crawl/toys")
IN_MEMORY = ("--direct_running_mode=in_memory", "--direct_num_workers=1")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(write_project(tmp_path))
    refresh()
    return tmp_path


def run(*beam_options: str) -> None:
    crawl.run(StageRun(stage="crawl", key="toys", params=load_params(), beam_options=beam_options or IN_MEMORY))


def change_params(old: str, new: str) -> None:
    text = Path("params.yaml").read_text()
    assert old in text
    Path("params.yaml").write_text(text.replace(old, new))


def test_what_is_published(project: Path) -> None:
    run()
    manifest = read_manifest(OUT)
    assert manifest.counts.num_in == NUM_LINKS and manifest.counts.kept == REASONS[""]
    assert {**manifest.counts.rejected, **manifest.counts.failed} == {key: REASONS[key] for key in REASONS if key}
    assert set(manifest.counts.failed) == {"http_404", "empty", "truncated"}
    assert manifest.details == {"num_samples": 12, "num_found": 22, "pages": {"fetched": 2}}
    names = ["00000", "20000", "30000", "40000", "60000", "80000", "c0000", "e0000"]
    assert [info.name for info in manifest.shards] == [f"{name}.tar" for name in names]
    assert [info.name for info in manifest.layers] == [f"{name}.parquet" for name in names]
    assert all(read_layer(OUT, info)["key"][0].as_py() >= info.name[:5] for info in manifest.layers)
    assert sum(info.num_samples for info in manifest.layers) == NUM_LINKS
    assert max(info.num_samples for info in manifest.layers) <= 5
    rows = [row for info in manifest.layers for row in read_layer(OUT, info).to_pylist()]
    samples = [sample for info in manifest.shards for sample in read_shard(OUT, info)]
    keys = [row["key"] for row in rows]
    assert keys == sorted(keys) and len(set(keys)) == NUM_LINKS
    assert all(row["key"] == sample_key("toys", canonical_url(row["url"])) for row in rows)
    assert [sample.key for sample in samples] == [row["key"] for row in rows if row["status"] == "success"]
    by_name = {row["url"].rpartition("/")[2]: row for row in rows}
    assert by_name["0.png"]["url"] == "http://localhost/toys/0.png", "the port is in no row"
    assert [by_name[name]["extension"] for name in ("8.gif", "9.gif", "10.webp", "11.mp4", "7.webp")] == [
        "png",
        "mp4",
        "mp4",
        "mp4",
        "webp",
    ]
    assert not any(Path(".vignette/scratch").rglob("*.tar")), "nothing is left in scratch"


def test_shards_load_in_webdataset(project: Path) -> None:
    run()
    urls = [str(OUT / info.name) for info in read_manifest(OUT).shards]
    samples = list(webdataset.WebDataset(urls, shardshuffle=False, empty_check=False))
    assert len(samples) == 12
    for sample in samples:
        assert json.loads(sample["json"])["captions"][0]["text"] == sample["txt"].decode()


@pytest.mark.parametrize("no_cache", ["0", "1"])
def test_second_run_gives_the_same_bytes(project: Path, monkeypatch: pytest.MonkeyPatch, no_cache: str) -> None:
    run()
    first = digests(OUT)
    monkeypatch.setenv("VIGNETTE_NO_CACHE", no_cache)
    run()
    assert digests(OUT) == first


def test_changed_site_needs_a_refresh(project: Path) -> None:
    (project / "site/toys/new.html").write_text("new")
    with pytest.raises(ValueError, match=r"site changed since sources.lock was written: run `vignette refresh`"):
        run()
    refresh("toys")
    run()


def test_no_lock(project: Path) -> None:
    LOCK_FILE.unlink()
    with pytest.raises(ValueError, match="run `vignette refresh toys`"):
        run()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("module: html_site", "module: htmlsite", "has no 'htmlsite' .did you mean html_site"),
        ("start: toys/", "strat: toys/", "sources.toys.strat is not a setting .did you mean start"),
        ("start: toys/", "start: none/", "start page http://localhost/none/ cannot be read: http_404"),
        ("start: toys/", "start: robots.txt", "cannot be read: type_refused: not HTML"),
        ("samples_per_shard: 5", "samples_per_shard: 0", "samples_per_shard must be from 1 to 10000, got 0"),
        ("samples_per_shard: 5", "max_failed_frac: 0.1", "sources.toys: 3 of 22 failed, more than max_failed_frac"),
        ("toys: {", "tyos: {", "sources.toys does not exist .did you mean tyos"),
        ("seed: 0", "crawl: {fetch: {retrys: 1}}", "crawl.fetch.retrys is not a setting"),
    ],
)
def test_mistakes(project: Path, old: str, new: str, message: str) -> None:
    change_params(old, new)
    with pytest.raises(ValueError, match=message):
        run()
    assert not OUT.exists()


def test_site_without_pictures(project: Path) -> None:
    (project / "site/toys/index.html").write_text("<p>nothing</p>")
    refresh()
    with pytest.raises(ValueError, match=r"sources.toys has no links; its pages: {'fetched': 1}"):
        run()


def test_failing_pages_fail_the_stage(project: Path) -> None:
    links = "".join(f'<a href="{number}.html">x</a>' for number in range(9))
    (project / "site/toys/index.html").write_text(f'<img src="0.png" alt="a">{links}')
    refresh()
    with pytest.raises(ValueError, match=r"more than max_failed_frac = 0.6 of its pages failed: {'http_404': 9}"):
        run()


def test_shards_with_failures_are_tried_again(project: Path) -> None:
    """After too many failures the next run asks again for what failed, and keeps the shards that were whole."""
    change_params("samples_per_shard: 5", "samples_per_shard: 1, max_failed_frac: 0.1")
    with pytest.raises(ValueError, match="3 of 22 failed"):
        run()
    (scratch,) = Path(".vignette/scratch/crawl/toys").iterdir()
    assert len(list(scratch.glob("*.json"))) == len(list(scratch.glob("*.tar"))) - 3 == 22 - 3


def test_it_ends_with_a_table_and_what_to_do(project: Path, caplog: pytest.LogCaptureFixture) -> None:
    change_params("samples_per_shard: 5", "warn_rejected_frac: 0.3")
    with caplog.at_level(logging.INFO, "vignette"):
        run()
    table, warning = (record.getMessage() for record in caplog.records if record.name == "vignette.crawl")
    rows = {line.split()[2]: int(line.split()[0]) for line in table.splitlines() if line.split()[0].isdigit()}
    assert table.startswith("sources.toys: 22 links") and rows == {
        "kept": 12,
        **{key: REASONS[key] for key in REASONS if key},
    }
    assert "contact_missing: set crawl.contact" in table
    assert warning.startswith(
        "sources.toys: 7 of 22 links were rejected, more than warn_rejected_frac = 0.3: no_caption 2"
    )


def test_a_crawl_that_keeps_nothing_fails_and_is_tried_again(project: Path) -> None:
    page = "".join(f'<img src="http://localhost:9{number}/x.png" alt="x">' for number in range(30))
    (project / "site/toys/index.html").write_text(page)
    refresh()
    with pytest.raises(
        ValueError, match=r"sources.toys: none of 30 links was kept: url_refused 30; url_refused: plain http"
    ):
        run()
    assert not OUT.exists() and not list(Path(".vignette/scratch/crawl/toys").glob("*/[0-9a-f]*.json"))


def command(project: Path, *options: str, **environment: str) -> None:
    env = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.crawl", "toys", *options], cwd=project, env=env, capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]


def test_bytes_do_not_depend_on_how_it_is_run(project: Path) -> None:
    """Worker processes, hash seed, time zone, language and umask; one run in this process against one of each."""
    run()
    expected = digests(OUT)
    shutil.rmtree(OUT)
    command(
        project,
        "--direct_running_mode=multi_processing",
        "--direct_num_workers=2",
        VIGNETTE_NO_CACHE="1",
        PYTHONHASHSEED="77",
        TZ="Pacific/Kiritimati",
        LANG="C",
        LC_ALL="C",
    )
    assert digests(OUT) == expected


def test_command_tells_a_mistake_in_one_line(project: Path) -> None:
    LOCK_FILE.unlink()
    done = subprocess.run([sys.executable, "-m", "pipelines.crawl", "toys"], cwd=project, capture_output=True)
    assert done.returncode == 1
    assert done.stderr.decode().splitlines()[-1].startswith("vignette crawl toys: sources.lock has no 'toys'")


EXPECTED = {
    "rejected: no caption": {"no_caption"},
    "failed: not a picture": {"type_refused"},
    "failed: truncated": {"truncated"},
    "failed: empty": {"empty"},
    "failed: too many pixels, by header": {"too_many_pixels"},
    "failed: HTTP 404": {"http_404"},
    "never requested": {"robots_denied", "contact_missing"},
    "one of the two dropped as a duplicate": {""},
    "crawled; shown escaped wherever it appears": {""},
    "rejected: no motion": {""},
}


@pytest.mark.parametrize(("source", "start"), [("clipart", "clipart/"), ("emoji-motion", "emoji-motion/")])
def test_planted_faults_of_the_embedded_site(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, start: str
) -> None:
    """What examples/site says of its own faults comes true, and nothing else is lost."""
    site = Path(__file__).resolve().parents[2] / "examples" / "site"
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(f"sources: {{{source}: {{module: html_site, serve: {site}, start: {start}}}}}")
    refresh()
    crawl.run(StageRun(stage="crawl", key=source, params=load_params(), beam_options=IN_MEMORY))
    out = Path("data/crawl") / source
    rows = [row for info in read_manifest(out).layers for row in read_layer(out, info).to_pylist()]
    reasons = {row["url"].removeprefix("http://localhost"): row["reason"] for row in rows}
    with (site / "FAULTS.csv").open(encoding="utf-8", newline="") as handle:
        faults = [fault for fault in csv.DictReader(handle) if fault["page"].startswith(f"/{source}/")]
    planted = {fault["url"]: fault["expected"] for fault in faults if fault["url"] in reasons}
    assert len(planted) >= 3
    for url, expected in planted.items():
        assert reasons[url] in EXPECTED[expected], f"{url} should be {expected}, was {reasons[url]!r}"
    assert {url for url, reason in reasons.items() if reason} <= set(planted)


def test_clips_have_equal_bytes_when_they_are_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the cache, and with other bytes in memory that is not written: narrow clips tell encoders apart."""
    monkeypatch.chdir(write_project(tmp_path))
    monkeypatch.setenv("VIGNETTE_NO_CACHE", "1")
    page = Path("site/toys/two.html")
    for number, side in enumerate((16, 32, 32, 34, 48, 64)):
        Path(f"site/toys/wave{number}.gif").write_bytes(wave(number, side))
        page.write_text(page.read_text() + f'<img src="wave{number}.gif" alt="wave {number}">')
    refresh()
    found = []
    for perturb in ("0", "165"):
        monkeypatch.setenv("MALLOC_PERTURB_", perturb)
        settings = CrawlSettings()
        process_sandbox(settings.decode_sec, settings.decode_memory_mib).__exit__(None, None, None)
        run()
        found.append(digests(OUT))
        assert read_manifest(OUT).counts.kept == REASONS[""] + 6
        shutil.rmtree("data")
    assert found[0] == found[1]
