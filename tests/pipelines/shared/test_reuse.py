"""What a shard takes over."""

import logging
from pathlib import Path

import pytest

from pipelines.shared.manifests import read_manifest
from pipelines.shared.reuse import reuse_files, reused_rows, write_reuse
from pipelines.shared.shards import FileInfo
from pipelines.shared.stage import DATA
from tests.pipelines.builders import Item, captions, drawing, encoded, key_of, picture_item, write_crawl

GOOD, LOST, OTHER = (key_of("web", name) for name in ("good", "lost", "other"))


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[FileInfo, FileInfo]:
    monkeypatch.chdir(tmp_path)
    items = [picture_item(name, drawing(number), captions("a")) for number, name in enumerate(("good", "other"))]
    write_crawl("web", [*items, Item(name="lost", reason="http_404", captions=captions("b"))])
    manifest = read_manifest(DATA / "crawl" / "web")
    (DATA / "crawl" / "web" / "plan").mkdir()
    return manifest.shards[0], manifest.layers[0]


def taken(name: str = "x") -> dict:
    return {row["key"]: (row, media) for row, media in reused_rows(DATA / "crawl" / "web", "plan", name)}


def test_rows_and_bytes(files: tuple[FileInfo, FileInfo]) -> None:
    write_reuse(DATA / "crawl" / "web", "plan", "x", {GOOD: {"etag": '"2"'}, LOST: {}}, [files])
    found = taken()
    assert set(found) == {GOOD, LOST}
    row, media = found[GOOD]
    assert (row["etag"], row["width"], media) == ('"2"', 64, encoded(drawing(0)))
    assert found[LOST][0]["reason"] == "http_404" and found[LOST][1] is None
    names = {info.check(Path()).as_posix() for info in reuse_files(DATA / "crawl" / "web", "plan", "x")}
    assert names == {f"data/crawl/web/{name}" for name in ("plan/x.reuse.json", files[0].name, files[1].name)}


def test_nothing_laid_out(files: tuple[FileInfo, FileInfo]) -> None:
    assert taken() == {} and reuse_files(DATA / "crawl" / "web", "plan", "x") == ()


@pytest.mark.parametrize("which", [0, 1])
def test_damaged_files_are_left_alone(
    files: tuple[FileInfo, FileInfo], which: int, caplog: pytest.LogCaptureFixture
) -> None:
    write_reuse(DATA / "crawl" / "web", "plan", "x", {GOOD: {}}, [files])
    path = DATA / "crawl" / "web" / files[which].name
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with caplog.at_level(logging.WARNING):
        assert taken() == {}
    assert "nothing is taken over from an earlier crawl's shard" in caplog.text
