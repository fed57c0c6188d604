"""Files that are whole or not there."""

import errno
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.shared import files
from pipelines.shared.files import (
    atomic_path,
    canonical_json,
    checked_lines,
    clear_folder,
    digest_file,
    digest_json,
    digest_tree,
    link_or_copy,
    write_bytes,
    write_json,
)


def test_atomic_write(tmp_path: Path) -> None:
    path = tmp_path / "new" / "x"
    with atomic_path(path) as temporary:
        temporary.write_bytes(b"1")
        assert not path.exists() and temporary.parent == path.parent
    assert path.read_bytes() == b"1" and list(path.parent.iterdir()) == [path]


def test_failure_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "x"
    write_bytes(path, b"old")
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_bytes(b"new")
        raise RuntimeError
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_kill_in_between_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "x"
    write_bytes(path, b"old")
    code = f"""
import os, signal
from pathlib import Path
from pipelines.shared.files import atomic_path
with atomic_path(Path({str(path)!r})) as temporary:
    temporary.write_bytes(b"new")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == -9
    assert path.read_bytes() == b"old"
    write_bytes(path, b"newer")
    assert path.read_bytes() == b"newer"


def test_two_writers_at_once(tmp_path: Path) -> None:
    """Of one process id, as the first processes of two containers have; the last one to finish wins."""
    path = tmp_path / "x"
    with atomic_path(path) as one:
        one.write_bytes(b"one")
        with atomic_path(path) as two:
            two.write_bytes(b"two")
        assert path.read_bytes() == b"two"
    assert path.read_bytes() == b"one" and list(tmp_path.iterdir()) == [path]


def test_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x"
    write_bytes(path, b"old")

    def no_space(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", no_space)
    with pytest.raises(OSError, match="No space left"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_json(tmp_path: Path) -> None:
    assert canonical_json({"b": 1, "a": [1.5, None, "ü"]}) == '{"a":[1.5,null,"ü"],"b":1}'
    assert digest_json({"a": 1, "b": 2}) == digest_json({"b": 2, "a": 1}) != digest_json({"a": 1, "b": 3})
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json(float("nan"))
    write_json(tmp_path / "x.json", {"b": 1, "a": 2})
    assert (tmp_path / "x.json").read_text() == '{\n  "a": 2,\n  "b": 1\n}\n'
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": 2, "b": 1}


def test_digests(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc" * 1_000_000)
    assert digest_file(tmp_path / "a") == hashlib.sha256(b"abc" * 1_000_000).hexdigest()


def test_tree_digest_knows_names_and_bytes(tmp_path: Path) -> None:
    seen = set()
    for names in ({"a": b"1"}, {"a": b"2"}, {"b": b"1"}, {"sub/a": b"1"}, {"a": b"1", "b": b""}, {}):
        folder = tmp_path / str(len(seen))
        folder.mkdir()
        for name, content in names.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(content)
        seen.add(digest_tree(folder))
    assert len(seen) == 6
    (tmp_path / "0" / "note.txt").write_text("x")
    assert digest_tree(tmp_path / "0", "a") in seen, "the pattern leaves other files out"


def test_names_that_are_not_utf8_have_a_digest(tmp_path: Path) -> None:
    """A file that nobody asked for beside others does not end the stage."""
    (tmp_path / "a").write_text("x")
    plain = digest_tree(tmp_path)
    (tmp_path / os.fsdecode(b"caf\xe9")).write_text("y")
    assert digest_tree(tmp_path) != plain


def test_link_or_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = tmp_path / "a", tmp_path / "sub" / "b"
    source.write_bytes(b"x")
    link_or_copy(source, target)
    assert target.read_bytes() == b"x" and source.samefile(target)
    link_or_copy(source, target)

    def no_links(*arguments: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(files.os, "link", no_links)
    link_or_copy(source, target)
    assert target.read_bytes() == b"x" and not source.samefile(target)


def test_clear_folder(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    clear_folder(folder)
    (folder / "x").write_text("x")
    clear_folder(folder)
    assert list(folder.iterdir()) == []


def test_lines_are_those_of_the_named_file(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text(" a \n\nb\r\nç d", encoding="utf-8")
    assert checked_lines(path, digest_file(path)) == ["a", "b", "ç d"]
    with pytest.raises(ValueError, match="the settings say 0"):
        checked_lines(path, "0" * 64)
    with pytest.raises(ValueError, match="does not exist"):
        checked_lines(tmp_path / "other.txt", "0" * 64)


def test_a_copy_that_finds_no_room_names_its_target_alone(tmp_path: Path) -> None:
    target = tmp_path / "data/00000.tar"
    with pytest.raises(OSError, match="No space left") as caught, atomic_path(target) as temporary:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "scratch/00000.tar", None, str(temporary))
    assert (caught.value.filename, caught.value.filename2) == (str(target), None)
