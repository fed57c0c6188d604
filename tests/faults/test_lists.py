"""What a rule lists by its URL or by its digest is in no pack and on no page, nor is its URL or digest."""

import hashlib
from pathlib import Path

import pytest

from pipelines import annotate, pack
from pipelines import filter as filter_stage
from pipelines.shared.layers import read_layer
from pipelines.shared.manifests import read_manifest
from pipelines.shared.reporting.dataset import FilterPage, Removed, dataset_page
from pipelines.shared.shards import read_shard
from pipelines.shared.stage import DATA
from tests.pipelines.builders import captions, drawing, encoded, picture_item, stage_run, url_of, write_crawl

NAMES = [f"picture{index}" for index in range(8)]
PACKS = {"p": {"filter": "base", "size_px": 32}}


@pytest.fixture(autouse=True)
def crawl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_crawl("web", [picture_item(name, drawing(index), captions("a text")) for index, name in enumerate(NAMES)])


def packed(**rule: str) -> tuple[set[str], dict[str, str], bytes, FilterPage]:
    """Names that a pack holds, reasons of the others, all that filter and pack have published, and the page's facts."""
    entry = {
        "sources": ("web",),
        "rules": {"taken-down": {"module": "listed", "keep": "others", **rule}},
        "near_duplicates": {"enabled": False},
    }
    params = {"sources": {"web": {}}, "filters": {"base": entry}, "packs": PACKS}
    annotate.run(stage_run("annotate", "web", params))
    filter_stage.run(stage_run("filter", "base", params))
    pack.run(stage_run("pack", "p", params))
    folder, decided = DATA / "pack" / "p", DATA / "filter" / "base"
    samples = [sample for info in read_manifest(folder).shards for sample in read_shard(folder, info)]
    rows = [row for info in read_manifest(decided).layers for row in read_layer(decided, info).to_pylist()]
    files = [path.read_bytes() for place in (folder, decided) for path in place.rglob("*") if path.is_file()]
    names = {sample.facts["url"].rpartition("/")[2] for sample in samples}
    (page,) = dataset_page(DATA, params, {}, 6)["filters"]
    return names, {row["key"]: row["reason"] for row in rows if row["reason"]}, b"".join(files), page


@pytest.mark.parametrize("column", ["url", "sha256"])
def test_a_listed_picture_is_in_no_pack(column: str) -> None:
    gone = NAMES[2:4]
    digests = [hashlib.sha256(encoded(drawing(index))).hexdigest() for index in (2, 3)]
    lines = [url_of("web", name) for name in gone] if column == "url" else digests
    Path("gone.txt").write_text("\n".join(lines) + "\n")
    digest = hashlib.sha256(Path("gone.txt").read_bytes()).hexdigest()
    names, reasons, published, page = packed(column=column, file="gone.txt", sha256=digest)
    assert names == set(NAMES) - set(gone)
    assert list(reasons.values()) == [f"listed_{column}"] * 2
    assert page.removed[f"listed_{column}"] == Removed(count=2, meaning="", examples=[])
    assert len(page.kept["web"]) == 6
    for text in (*(url_of("web", name) for name in gone), *digests):
        assert text.encode() not in published
