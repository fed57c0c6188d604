"""The cache of finished tasks: what comes back, what is noticed, what is dropped."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from pipelines.shared import task_cache
from pipelines.shared.files import digest_file, link_or_copy, write_json
from pipelines.shared.jobs import Task, result_path, run_tasks
from pipelines.shared.shards import describe
from pipelines.shared.stage import StageRun
from pipelines.shared.task_cache import TaskCache, keep_results, take_results

RUN = StageRun(stage="t", key="k", params={}, beam_options=("--runner=NoSuchRunner",))


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def work(value: str, scratch: Path) -> dict[str, Any]:
    """Writes a shard and a layer that depend on the value, and a mark of having been called."""
    with (scratch.parent / "calls").open("a") as handle:
        handle.write(f"{value} ")
    result = {"shard": f"{value}/x.tar", "layer": f"{value}.parquet"}
    for name in result.values():
        (scratch / name).parent.mkdir(parents=True, exist_ok=True)
        (scratch / name).write_text(f"{name} of {value} " * 100)
    return {key: describe(scratch / name, scratch, 1).as_dict() for key, name in result.items()} | {"value": value}


def tasks(*values: str) -> list[Task]:
    return [Task(value, value, f"{value:0<64}".replace("-", "0")) for value in values]


def build(folder: str, *values: str) -> list[dict[str, Any]]:
    """The results of tasks; their files are in the folder."""
    scratch = Path(folder)
    scratch.mkdir()
    take_results(RUN, tasks(*values), scratch)
    for task in tasks(*values):
        if not (path := result_path(scratch, task.name)).exists():
            write_json(path, work(task.value, scratch))
    results = run_tasks(RUN, tasks(*values), work, scratch)
    keep_results(tasks(*values), results, scratch)
    for result, value in zip(results, values, strict=True):
        assert result["value"] == value
        assert digest_file(scratch / f"{value}.parquet") == result["layer"]["sha256"]
        assert digest_file(scratch / value / "x.tar") == result["shard"]["sha256"]
    return results


def calls() -> list[str]:
    path = Path("calls")
    found = path.read_text().split() if path.exists() else []
    path.unlink(missing_ok=True)
    return sorted(found)


def cached(kind: str) -> list[Path]:
    return sorted(path for path in Path(".vignette/cache", kind).rglob("*") if path.is_file())


def test_only_what_is_not_there_is_done(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    first = build("one", "a", "b")
    assert calls() == ["a", "b"] and len(cached("files")) == 4 and len(cached("tasks")) == 2
    assert cached("files")[0].stat().st_nlink == 2, "a file takes no space twice"
    assert "from the cache" not in caplog.text
    assert build("two", "a", "b", "c")[:2] == first
    assert calls() == ["c"] and "t k: 2 of 3 shards come from the cache" in caplog.text
    assert build("three", "c", "a") and calls() == []


def test_nothing_is_tidied_up_while_it_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stage that ends tidies up; one beside it is taking from the cache."""
    build("first", "a")
    seen = []

    def link(source: Path, target: Path) -> None:
        with Path(".vignette/cache/lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)  # others may take
            with pytest.raises(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        seen.append(target.name)
        link_or_copy(source, target)

    monkeypatch.setattr(task_cache, "link_or_copy", link)
    Path("second").mkdir()
    take_results(RUN, tasks("a"), Path("second"))
    assert seen == ["x.tar", "a.parquet"]
    assert result_path(Path("second"), "a").exists()


def test_without_a_digest_nothing_is_kept() -> None:
    scratch = Path("scratch")
    scratch.mkdir()
    keep_results([Task("a", "a")], [work("a", scratch)], scratch)
    take_results(RUN, [Task("b", "b")], scratch)
    assert cached("tasks") == [] and not (scratch / "b.json").exists()


def test_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    build("one", "a")
    monkeypatch.setenv("VIGNETTE_NO_CACHE", "1")
    build("two", "a")
    build("three", "b")
    assert calls() == ["a", "a", "b"] and len(cached("tasks")) == 1, "neither read nor written"


@pytest.mark.parametrize("kind", ["files", "tasks"])
@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "gone"])
def test_damage_is_noticed_and_mended(kind: str, damage: str) -> None:
    first = build("one", "a")
    for path in cached(kind):
        content = bytearray(path.read_bytes())
        path.unlink()
        content[len(content) // 2] ^= 1
        if damage != "gone":
            path.write_bytes({"flip": bytes(content), "cut": bytes(content[:-9]), "empty": b""}[damage])
    assert build("two", "a") == first and calls() == ["a", "a"]
    assert build("three", "a") == first and calls() == [], "what was made anew is in the cache"


def test_a_published_file_that_was_changed_in_place_spoils_nothing() -> None:
    first = build("one", "a")
    with Path("one/a.parquet").open("r+b") as handle:
        handle.write(b"X")
    assert build("two", "a") == first and calls() == ["a", "a"]


def test_a_number_that_was_changed_is_noticed() -> None:
    build("one", "a")
    (path,) = cached("tasks")
    values = json.loads(path.read_text())
    values["result"]["shard"]["num_samples"] = 2
    path.write_text(json.dumps(values))
    build("two", "a")
    assert calls() == ["a", "a"]


def test_old_tasks_go_with_their_files() -> None:
    build("one", "a", "b")
    old = time.time() - (task_cache.MAX_AGE_DAYS + 1) * 86400
    for path in cached("tasks"):
        os.utime(path, (old, old))
    build("two", "a")
    build("three", "c")
    assert [path.stem[0] for path in cached("tasks")] == ["a", "c"], "a was used, b was not"
    assert len(cached("files")) == 4


def test_the_last_used_are_kept_up_to_a_size(monkeypatch: pytest.MonkeyPatch) -> None:
    results = build("one", "a", "b", "c")
    for number, path in enumerate(cached("tasks")):
        os.utime(path, (number, time.time() - 100 + number))
    num_bytes = sum(info["num_bytes"] for result in results[1:] for info in (result["shard"], result["layer"]))
    monkeypatch.setenv("VIGNETTE_CACHE_GIB", str((num_bytes + 10) / 2**30))
    keep_results([], [], Path("one"))
    assert [path.stem[0] for path in cached("tasks")] == ["b", "c"] and len(cached("files")) == 4


@pytest.mark.parametrize("text", ["many", "-1", "nan", ""])
def test_a_size_that_is_none(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("VIGNETTE_CACHE_GIB", text)
    with pytest.raises(ValueError, match="VIGNETTE_CACHE_GIB must be a number from 0, got"):
        build("one", "a")


KILLED = """
import os, signal, sys
from pathlib import Path
from pipelines.shared import files, task_cache
from pipelines.shared.jobs import Task
from pipelines.shared.shards import describe
from pipelines.shared.task_cache import keep_results
moment, scratch = int(sys.argv[1]), Path("made")
scratch.mkdir()
steps = 0
def step(function):
    def counted(*arguments):
        global steps
        steps += 1
        if steps == moment:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments)
    return counted
task_cache.link_or_copy, task_cache.write_json = step(task_cache.link_or_copy), step(task_cache.write_json)
results = []
for name in "ab":
    (scratch / f"{name}.tar").write_text(name * 1000)
    results.append({"shard": describe(scratch / f"{name}.tar", scratch, 1).as_dict(), "value": name})
keep_results([Task(name, name, name * 64) for name in "ab"], results, scratch)
"""


@pytest.mark.parametrize("moment", [1, 2, 3, 4])
def test_killed_while_it_is_filled(project: Path, moment: int) -> None:
    root = Path(task_cache.__file__).resolve().parents[2]
    command = [sys.executable, "-c", KILLED, str(moment)]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(root)}, check=False)
    assert done.returncode == -signal.SIGKILL
    cache = TaskCache()
    taken = [cache.take(name * 64, project / "out" / f"{name}.json") for name in "ab"]
    assert taken == [moment > 2, False]
    keep_results([], [], project)
    assert len(cached("files")) == len(cached("tasks")) == taken.count(True), "nothing is left lying about"


def answer(name: str, num_bytes: int, days: float = 0.0) -> Path:
    path = Path(".vignette/cache/answers", name[:2], f"{name}.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * num_bytes)
    used = time.time() - days * 86400
    os.utime(path, (used, used))
    return path


def test_answers_are_kept_as_long_as_shards_are(monkeypatch: pytest.MonkeyPatch) -> None:
    build("one", "a")
    new, older, old = (answer(name, 100, days) for name, days in (("new", 1), ("older", 80), ("old", 91)))
    left = answer(".killed.tmp", 100, 91)
    keep_results([], [], Path("one"))
    assert new.exists() and older.exists() and not old.exists() and not left.exists()
    num_bytes = sum(path.stat().st_size for path in cached("files"))
    monkeypatch.setenv("VIGNETTE_CACHE_GIB", str(max(num_bytes, 150) / 2**30))
    older = answer("older", num_bytes, 80)
    keep_results([], [], Path("one"))
    assert new.exists() and not older.exists(), "the last used first"
    assert len(cached("files")) == 2, "answers displace no shards, nor shards answers"


def test_nothing_is_removed_where_the_cache_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    old = answer("old", 100, 91)
    monkeypatch.setenv("VIGNETTE_NO_CACHE", "1")
    keep_results([], [], Path())
    assert old.exists() and TaskCache().answers is None
