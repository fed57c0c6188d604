"""DVC's digests and caches, against DVC itself where it is quick."""

import hashlib
import json
from pathlib import Path

import pytest

from pipelines.shared.dvc_files import (
    CACHE,
    Listed,
    as_listed,
    cache_path,
    cached_listing,
    files_under,
    folder_md5,
    hash_file,
    is_damaged_object,
    is_damaged_run,
    is_ignored,
    is_md5,
    yaml_text,
)

ROOT = Path(__file__).parents[3]
RUN = {
    "cmd": "echo 1",
    "deps": [{"path": "a", "hash": "md5", "md5": "0" * 32, "size": 3}],
    "params": {"params.yaml": {"seed": 0}},
    "outs": [{"path": "b", "hash": "md5", "md5": "1" * 32, "size": 5}],
}


def test_both_digests_in_one_reading(tmp_path):
    (tmp_path / "a").write_bytes(b"abc" * 10**6)
    found = hash_file(tmp_path / "a")
    assert found.sha256 == hashlib.sha256(b"abc" * 10**6).hexdigest()
    assert found.md5 == hashlib.md5(b"abc" * 10**6).hexdigest()
    assert found.num_bytes == 3 * 10**6


def test_a_folders_digest_does_not_depend_on_the_order_of_names():
    assert folder_md5({"b": "1", "a": "2"}) == folder_md5({"a": "2", "b": "1"})


def test_a_folder_is_listed_as_dvc_lists_it(tmp_path, monkeypatch):
    from dvc_data.hashfile.build import build
    from dvc_data.hashfile.db import HashFileDB
    from dvc_objects.fs import LocalFileSystem

    monkeypatch.chdir(tmp_path)
    for name in ("b/c.txt", "b.txt", "a/z", "ü 1"):
        Path("folder", name).parent.mkdir(parents=True, exist_ok=True)
        Path("folder", name).write_text(name)
    system = LocalFileSystem()
    _, meta, tree = build(HashFileDB(system, str(tmp_path / "db")), str(tmp_path / "folder"), system, "md5")
    ours = as_listed(Path("folder"), {})
    assert (ours.md5, ours.num_bytes, ours.num_files) == (tree.hash_info.value, meta.size, meta.nfiles)
    assert as_listed(Path("folder/b.txt"), {}) == Listed(hash_file(Path("folder/b.txt")).md5, 5)


def test_what_dvc_ignores_is_no_file_of_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("out/a", "out/__pycache__/b", "out/c.pyc", "out/bench/d", "other/bench/e"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    Path(".dvcignore").write_text("# a remark\n__pycache__\n*.pyc\n/out/bench\n\n")
    assert files_under(Path("out")) == [Path("out/a")]
    assert files_under(Path("other")) == [Path("other/bench/e")]
    assert files_under(Path("out/a")) == [Path("out/a")]
    assert not is_ignored(Path("out/bench2"), ("/out/bench",))


def test_a_damaged_object_lists_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    md5 = folder_md5({"a": "0" * 32})
    path = cache_path(md5)
    assert path.is_relative_to(CACHE) and cached_listing(md5) is None
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps([{"md5": "0" * 32, "relpath": "a"}], sort_keys=True))
    assert cached_listing(md5) == {"a": "0" * 32} and not is_damaged_object(path, hash_file(path))
    path.write_text("[")
    assert cached_listing(md5) is None and is_damaged_object(path, hash_file(path))


@pytest.fixture
def kept_run(tmp_path):
    from dvc.stage.cache import _get_cache_hash

    copy = json.loads(json.dumps(RUN))
    value, key = _get_cache_hash(copy), _get_cache_hash(copy, key=True)
    path = tmp_path / key[:2] / key / value
    path.parent.mkdir(parents=True)
    path.write_text(yaml_text(RUN))
    return path


def test_a_kept_run_is_named_by_dvcs_digests(kept_run):
    assert not is_damaged_run(kept_run, {})
    sizes = {("a", "0" * 32): Listed("0" * 32, 3)}
    assert not is_damaged_run(kept_run, sizes)
    whole = kept_run.read_bytes()
    for place in range(len(whole)):
        kept_run.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        line = whole[whole.rfind(b"\n", 0, place) + 1 :].split(b"\n")[0]
        assert is_damaged_run(kept_run, sizes) or line == b"  size: 5", line
    kept_run.write_bytes(whole.replace(b"size: 3", b"size: 2"))
    assert is_damaged_run(kept_run, sizes), "a size that is known elsewhere"
    kept_run.write_bytes(whole[:-1])
    assert is_damaged_run(kept_run, {})


def test_our_own_lock_is_written_as_dvc_writes_it():
    from pipelines.shared.documents import parse_yaml

    text = (ROOT / "dvc.lock").read_text()
    assert yaml_text(parse_yaml(text, "dvc.lock", 1 << 30)) == text


@pytest.mark.parametrize("value", ["0" * 32, "a" * 32 + ".dir"])
def test_digests_are_recognised(value):
    assert is_md5(value)
    assert not any(map(is_md5, (value[1:], value.upper().replace("0", "G"), value + "0", None, 3)))
