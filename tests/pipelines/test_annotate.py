import shutil
from contextlib import nullcontext

import pytest

from pipelines.annotate import run
from pipelines.annotators import caption_stats
from pipelines.shared.files import digest_tree
from pipelines.shared.layers import read_layer
from pipelines.shared.manifests import manifest_digest, read_manifest
from pipelines.shared.stage import DATA, STATE
from tests.pipelines.builders import ANNOTATORS, Item, captions, drawing, picture_item, stage_run, write_crawl

PARAMS = {"sources": {"web": {}}}


@pytest.fixture
def crawl(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    items = [picture_item(f"p{i}", drawing(i), captions("a b c")) for i in range(7)]
    write_crawl("web", [*items, Item(name="gone", reason="http_404")], samples_per_shard=3)


def test_a_layer_beside_each_shard(crawl):
    run(stage_run("annotate", "web", PARAMS))
    folder, crawled = DATA / "annotate" / "web", read_manifest(DATA / "crawl" / "web")
    manifest = read_manifest(folder)
    assert [layer.num_samples for layer in manifest.layers] == [shard.num_samples for shard in crawled.shards]
    assert manifest.inputs == {"crawl/web": manifest_digest(DATA / "crawl" / "web")}
    assert (manifest.counts.num_in, manifest.counts.kept) == (7, 7)
    assert sum(read_layer(folder, layer)["caption_words"].to_pylist() == [[3]] * 3 for layer in manifest.layers) >= 1


def test_workers_change_nothing(crawl, monkeypatch):
    monkeypatch.setenv("VIGNETTE_NO_CACHE", "1")
    digests = set()
    for options in ({}, {"direct_running_mode": "multi_threading", "direct_num_workers": 2}):
        params = stage_run("annotate", "web", PARAMS).params
        run(stage_run("annotate", "web", {**params, "beam": {**params["beam"], **options}}))
        digests.add(digest_tree(DATA / "annotate" / "web"))
    assert len(digests) == 1


def test_unchanged_shards_come_from_the_cache(crawl, caplog):
    caplog.set_level("INFO")
    run(stage_run("annotate", "web", PARAMS))
    whole, num_shards = digest_tree(DATA / "annotate" / "web"), len(read_manifest(DATA / "crawl" / "web").shards)
    assert "from the cache" not in caplog.text
    run(stage_run("annotate", "web", PARAMS))
    assert digest_tree(DATA / "annotate" / "web") == whole
    assert f"annotate web: {num_shards} of {num_shards} shards come from the cache" in caplog.text
    caplog.clear()
    items = [picture_item(f"p{i}", drawing(i), captions("a b c")) for i in range(7)]
    write_crawl("web", [*items, picture_item("p7", drawing(7), captions("x"))], samples_per_shard=3)
    run(stage_run("annotate", "web", PARAMS))
    assert f"{num_shards - 1} of {num_shards} shards come from the cache" in caplog.text
    caplog.clear()
    few = {name: ANNOTATORS[name] for name in ("caption-stats", "phash")}
    run(stage_run("annotate", "web", {**PARAMS, "annotators": few}))
    assert "from the cache" not in caplog.text, "other settings, other results"


def test_too_many_undecodable_samples_fail_the_job(crawl):
    broken = Item(name="bad", media=b"\x89PNG\r\n\x1a\nrubbish", size=(9, 9), captions=captions("a"))
    write_crawl("web", [broken, picture_item("p", drawing(0), captions("a"))])
    with pytest.raises(
        ValueError, match=r"annotate web: 1 of 2 failed, more than max_failed_frac = 0.01: decode_error 1"
    ):
        run(stage_run("annotate", "web", PARAMS))
    assert not (DATA / "annotate" / "web").exists()
    run(stage_run("annotate", "web", {**PARAMS, "annotate": {"max_failed_frac": 0.5}}))
    counts = read_manifest(DATA / "annotate" / "web").counts
    assert (counts.num_in, counts.kept, counts.failed) == (2, 1, {"decode_error": 1})


def test_the_allowed_share_changes_no_byte(crawl):
    run(stage_run("annotate", "web", PARAMS))
    whole = digest_tree(DATA / "annotate" / "web")
    run(stage_run("annotate", "web", {**PARAMS, "annotate": {"max_failed_frac": 0.5}}))
    assert digest_tree(DATA / "annotate" / "web") == whole
    with pytest.raises(ValueError, match=r"annotate.max_failed_fra is not a setting"):
        run(stage_run("annotate", "web", {**PARAMS, "annotate": {"max_failed_fra": 0.5}}))


@pytest.mark.parametrize("most", [0.01, 1.0], ids=["refused", "allowed"])
def test_memory_that_sufficed_later(crawl, monkeypatch, most):
    """Neither scratch nor cache hand on what failed for want of memory."""
    run(stage_run("annotate", "web", PARAMS))
    whole, annotate = digest_tree(DATA / "annotate" / "web"), caption_stats.Annotator.annotate

    def fails(self, given):
        if most < 1 or len(given) > 1 or spared.setdefault("key", given[0].key) != given[0].key:
            raise MemoryError
        return annotate(self, given)

    spared, settings = {}, {**PARAMS, "annotate": {"max_failed_frac": most}}
    shutil.rmtree(STATE / "cache")
    monkeypatch.setattr(caption_stats.Annotator, "annotate", fails)
    with nullcontext() if most == 1 else pytest.raises(ValueError, match=r"7 of 7 failed, .*: out_of_memory 7"):
        run(stage_run("annotate", "web", settings))
    monkeypatch.setattr(caption_stats.Annotator, "annotate", annotate)
    run(stage_run("annotate", "web", settings))
    assert digest_tree(DATA / "annotate" / "web") == whole


def test_a_layer_of_failures_alone_is_refused_and_made_anew(crawl, monkeypatch):
    annotate = caption_stats.Annotator.annotate

    def fails(self, given):
        raise MemoryError

    settings = {**PARAMS, "annotate": {"max_failed_frac": 1.0}}
    monkeypatch.setattr(caption_stats.Annotator, "annotate", fails)
    with pytest.raises(ValueError, match=r"annotate web: nothing is kept of 7: out_of_memory 7"):
        run(stage_run("annotate", "web", settings))
    monkeypatch.setattr(caption_stats.Annotator, "annotate", annotate)
    run(stage_run("annotate", "web", settings))
    assert read_manifest(DATA / "annotate" / "web").counts.kept == 7


def test_unknown_sources_and_annotators_are_refused(crawl):
    with pytest.raises(ValueError, match=r"sources.wep does not exist \(did you mean web\?\)"):
        run(stage_run("annotate", "wep", PARAMS))
    with pytest.raises(ValueError, match=r"annotators.x.module"):
        run(stage_run("annotate", "web", {**PARAMS, "annotators": {"x": {"module": "y"}}}))
    twice = {"a": {"module": "phash"}, "b": {"module": "phash"}}
    with pytest.raises(ValueError, match="both write the column"):
        run(stage_run("annotate", "web", {**PARAMS, "annotators": twice}))
