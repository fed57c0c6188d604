import hashlib
import json
from pathlib import Path

import pytest

from pipelines.shared.differing_outputs import differing_outputs

ONE, OTHER = "a" * 32 + ".dir", "b" * 32 + ".dir"


def write_listing(files: dict[str, str]) -> str:
    """An object of the cache that lists a folder's files; its digest."""
    content = json.dumps([{"relpath": name, "md5": digest} for name, digest in files.items()]).encode()
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest() + ".dir"
    path = Path(".dvc/cache/files/md5") / md5[:2] / md5[2:]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return md5


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_equal_outputs_are_not_named() -> None:
    outs = {"data/a": {"md5": ONE, "size": 1, "nfiles": 1}}
    assert list(differing_outputs(outs, outs)) == []


def test_sizes_where_the_cache_knows_nothing() -> None:
    one, other = {"md5": ONE, "size": 1000, "nfiles": 3}, {"md5": OTHER, "size": 1001, "nfiles": 3}
    assert list(differing_outputs({"d": one}, {"d": other})) == [
        "d (3 files, 1,000 bytes published, 3 files, 1,001 bytes here)"
    ]
    assert list(differing_outputs({"d": one}, {"d": {**other, "size": 1000}})) == [
        "d (3 files, 1,000 bytes, other content)"
    ]


def test_files_are_named_where_the_cache_knows_both() -> None:
    one = write_listing({"a": "1", "b": "2", "gone": "3"})
    other = write_listing({"a": "1", "b": "4", "new": "3"})
    assert list(differing_outputs({"d": {"md5": one}}, {"d": {"md5": other}})) == ["d (3 of 4 files: b, gone, new)"]


def test_many_files_are_counted() -> None:
    one = write_listing({f"{number}": "1" for number in range(6)})
    other = write_listing({f"{number}": "2" for number in range(6)})
    assert list(differing_outputs({"d": {"md5": one}}, {"d": {"md5": other}})) == [
        "d (6 of 6 files: 0, 1, 2 and 3 more)"
    ]


def test_an_output_of_one_alone() -> None:
    assert list(differing_outputs({"x": {"md5": ONE}}, {"y": {"md5": ONE}})) == ["x (only published)", "y (only here)"]


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'[{"relpath": "a"}]', b"\xff"])
def test_a_damaged_object_of_the_cache_is_none(content: bytes) -> None:
    one, other = write_listing({"a": "1"}), write_listing({"a": "2"})
    Path(".dvc/cache/files/md5", one[:2], one[2:]).write_bytes(content)
    found = differing_outputs({"d": {"md5": one, "size": 1}}, {"d": {"md5": other, "size": 2}})
    assert list(found) == ["d (1 bytes published, 2 bytes here)"]
