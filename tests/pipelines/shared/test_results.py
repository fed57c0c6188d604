"""Results of tasks count only with whole files; see test_stage.py for when they are looked at."""

import json
from pathlib import Path

import pytest

from pipelines.shared.files import write_json
from pipelines.shared.results import drop_damaged, result_files, result_path
from pipelines.shared.shards import describe


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    for name in ("a", "deep/b"):
        path = tmp_path / f"{name}.tar"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"the shard {name}")
        write_json(result_path(tmp_path, name), {"shard": describe(path, tmp_path, 1).as_dict(), "num_links": 3})
    write_json(result_path(tmp_path, "without-files"), {"value": [1]})
    write_json(tmp_path / "plan.json", ["no result"])
    return tmp_path


def test_files_of_a_result(scratch: Path) -> None:
    result = json.loads(result_path(scratch, "deep/b").read_bytes())
    assert [info.name for info in result_files(result)] == ["deep/b.tar"]
    assert result_files({"value": 1}) == []


def test_whole_ones_stay(scratch: Path) -> None:
    before = sorted(scratch.rglob("*"))
    assert drop_damaged(scratch) == 0 and sorted(scratch.rglob("*")) == before


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[3] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [Path.unlink, cut, flip])
def test_damaged_files_make_it_count_for_nothing(scratch: Path, damage) -> None:
    damage(scratch / "deep/b.tar")
    assert drop_damaged(scratch) == 1
    assert result_path(scratch, "a").exists() and not result_path(scratch, "deep/b").exists()
    assert result_path(scratch, "without-files").exists()


@pytest.mark.parametrize(
    "content", [b"", b'{"shard": {"name"', b'{"shard": {"name": "a.tar"}}', b'{"shard": 3}', b"\xff"]
)
def test_results_that_are_none(scratch: Path, content: bytes) -> None:
    result_path(scratch, "a").write_bytes(content)
    assert drop_damaged(scratch) == 1 and not result_path(scratch, "a").exists()
