import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from pipelines.shared.doctoring.watching import IN_Q_OVERFLOW, Watch

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    for name in ("a.txt", "deep/b.txt", "deep/er/c.txt", "deep/untouched.txt"):
        (tmp_path / name).write_text("x")
    pyarrow.parquet.write_table(pyarrow.table({"a": [1]}), tmp_path / "deep/t.parquet")
    save_file({"a": np.zeros(1)}, tmp_path / "w.safetensors")
    return tmp_path


@pytest.fixture
def watch(folder):
    watch = Watch(folder)
    yield watch
    watch.close()


def test_what_is_opened_by_any_process_and_library(folder, watch):
    (folder / "a.txt").read_text()
    subprocess.run(["cat", str(folder / "deep/er/c.txt")], check=True, capture_output=True)
    pyarrow.parquet.read_table(folder / "deep/t.parquet")
    with safe_open(folder / "w.safetensors", "numpy") as weights:
        weights.get_tensor("a")
    watch.collect(0)
    assert watch.opened == {"a.txt", "deep/er/c.txt", "deep/t.parquet", "w.safetensors"}
    assert watch.changed == set() and watch.complete


def test_what_is_changed(folder, watch):
    with (folder / "a.txt").open("a") as handle:
        handle.write("y")
    (folder / "deep/b.txt").unlink()
    (folder / "deep/er/c.txt").rename(folder / "deep/er/d.txt")
    (folder / "new").mkdir()
    watch.collect(0)
    assert watch.changed == {"a.txt", "deep/b.txt", "deep/er/c.txt", "deep/er/d.txt", "new"}


def test_listing_a_folder_is_not_reading_a_file(folder, watch):
    list(folder.rglob("*"))
    watch.collect(0)
    assert watch.opened == set()


def test_many_events(folder, watch):
    for index in range(500):
        (folder / "deep" / f"{index:0100d}").write_text("")
    watch.collect(0)
    assert len(watch.changed) == 500 and watch.complete


def test_a_queue_that_ran_over_is_told(watch):
    watch._take((-1).to_bytes(4, "little", signed=True) + IN_Q_OVERFLOW.to_bytes(4, "little") + bytes(8))
    assert not watch.complete


def test_waiting_ends(watch):
    watch.collect(0.01)
    watch.close()
    watch.close()
    watch.collect(0.01)


def test_too_many_watches(folder, monkeypatch):
    full = SimpleNamespace(
        inotify_init1=lambda flags: os.open(folder, os.O_RDONLY), inotify_add_watch=lambda *words: -1
    )
    monkeypatch.setattr("ctypes.CDLL", lambda *words, **options: full)
    with pytest.raises(ValueError, match=r"cannot be watched"):
        Watch(folder)
