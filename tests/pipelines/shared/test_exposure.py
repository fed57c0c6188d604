"""Which held-out samples a run has seen: by key, by file, and by what they look like."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import pyarrow
import pytest

from pipelines import annotate
from pipelines.shared.exposure import SCHEMA, chain, exposed, samples_of, trained_on
from pipelines.shared.files import write_json
from pipelines.shared.manifests import Counts, Manifest, manifest_digest, write_manifest
from pipelines.shared.records import Sample
from pipelines.shared.shards import describe, write_shard
from tests.pipelines.builders import (
    captions,
    clip_item,
    drawing,
    key_of,
    picture_item,
    stage_run,
    write_crawl,
)

TEXT = captions("some words", origin="human")
PACK = Path("data/pack/web")


@dataclass(frozen=True)
class Picked:
    """A sample of a pack: which item of the crawl, in which split."""

    name: str
    split: str
    sha256: str = ""


def crawled() -> None:
    """Pictures 0 to 5; `saved` looks like 0, `smaller` like 1; `moving` shows 2 in its middle."""
    items = [picture_item(str(number), drawing(number), TEXT) for number in range(6)]
    items.append(picture_item("saved", drawing(0), TEXT, extension="jpg", quality=80))
    items.append(picture_item("smaller", drawing(1, 40, 40), TEXT))
    items.append(clip_item("moving", [drawing(9), drawing(2), drawing(8)], TEXT))
    write_crawl("web", items)
    annotate.run(stage_run("annotate", "web", {"seed": 0, "sources": {"web": {}}}))


def write_pack(*picks: Picked, folder: Path = PACK) -> str:
    infos = []
    for split in ("test", "train"):
        own = sorted((key_of("web", pick.name), pick) for pick in picks if pick.split == split)
        samples = [
            Sample(
                key=key,
                extension="mp4" if pick.name == "moving" else "png",
                media=pick.name.encode(),
                captions=TEXT,
                facts={
                    "source": "web",
                    "sha256": pick.sha256 or hashlib.sha256(pick.name.encode()).hexdigest(),
                    "original_width": 64,
                    "original_height": 64,
                },
            )
            for key, pick in own
        ]
        path = folder / split / "00000.tar"
        infos.append(describe(path, folder, write_shard(path, samples)))
    counts = Counts(num_in=len(picks), kept=len(picks))
    manifest = Manifest(stage="pack", instance="web", settings_digest="0", counts=counts, shards=tuple(infos))
    return write_manifest(folder, manifest)


def write_run(key: str, base: str = "", pack: str = "web", step: int = 1) -> None:
    document = {
        "format_version": 1,
        "step": step,
        "base": {"key": base} if base else {},
        "pack": {"key": pack, "manifest_sha256": manifest_digest(Path("data/pack") / pack)},
    }
    write_json(Path("runs") / key / "config.json", document)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exposure")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        crawled()
        yield folder


@pytest.fixture(autouse=True)
def here(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(world)


def seen(held_out: pyarrow.Table, *trained: pyarrow.Table) -> set[str]:
    names = {key_of("web", name): name for name in (*map(str, range(6)), "saved", "smaller", "moving")}
    return {names[key] for key in exposed(held_out, trained)}


def test_a_table_has_what_it_needs() -> None:
    write_pack(Picked("0", "test"), Picked("moving", "test"), Picked("3", "train"))
    table = samples_of(PACK, "test")
    assert table.schema.equals(SCHEMA) and table.num_rows == 2
    assert table["key"].to_pylist() == sorted([key_of("web", "0"), key_of("web", "moving")])
    assert sorted(table["media"].to_pylist()) == ["image", "video"]
    assert table["phash"].null_count == 0 and table["width"].to_pylist() == [64, 64]


def test_nothing_is_exposed_by_a_clean_split() -> None:
    write_pack(*(Picked(str(number), "test" if number < 3 else "train") for number in range(6)))
    assert seen(samples_of(PACK, "test"), samples_of(PACK, "train")) == set()


def test_by_key_by_file_and_by_looks() -> None:
    write_pack(Picked("0", "test"), Picked("1", "test"), Picked("2", "test"), Picked("3", "test"), Picked("4", "test"))
    held_out = samples_of(PACK, "test")
    write_pack(Picked("saved", "train"), Picked("3", "train"), Picked("5", "train", hashlib.sha256(b"4").hexdigest()))
    first = samples_of(PACK, "train")
    assert seen(held_out, first) == {"0", "3", "4"}
    write_pack(Picked("smaller", "train"), Picked("moving", "train"))
    assert seen(held_out, first, samples_of(PACK, "train")) == {"0", "1", "2", "3", "4"}, "of either model"


def test_without_annotations_keys_and_files_still_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_pack(Picked("0", "test"), Picked("3", "test"))
    held_out = samples_of(PACK, "test")
    assert held_out.schema.equals(SCHEMA) and held_out["phash"].null_count == 2
    write_pack(Picked("saved", "train"), Picked("3", "train"))
    assert seen(held_out, samples_of(PACK, "train")) == {"3"}


def test_a_file_of_unknown_digest_is_not_equal_to_another_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_pack(Picked("0", "test"), Picked("3", "train"))
    tables = [samples_of(PACK, split) for split in ("test", "train")]
    blank = [table.set_column(1, "sha256", pyarrow.array([""])) for table in tables]
    assert exposed(blank[0], blank[1:]) == frozenset()


def test_a_run_has_seen_what_its_bases_have_seen() -> None:
    write_pack(Picked("0", "train"), Picked("1", "train"), folder=Path("data/pack/other"))
    write_pack(Picked("1", "train"), Picked("2", "train"))
    write_run("base", pack="other")
    write_run("top", base="base")
    assert chain("top") == ["top", "base"]
    assert trained_on("top")["key"].to_pylist() == sorted(key_of("web", name) for name in "012")
    write_run("base", pack="other", step=0)
    assert trained_on("top")["key"].to_pylist() == sorted(key_of("web", name) for name in "12")
    assert trained_on("base").num_rows == 0, "a run without training has seen nothing"


def test_a_pack_that_was_built_anew_since() -> None:
    write_pack(Picked("0", "train"))
    write_run("run")
    write_pack(Picked("1", "train"))
    with pytest.raises(
        ValueError, match=r"data/pack/web is not what run was trained on any more: run `vignette repro`"
    ):
        trained_on("run")
