"""The store by itself, and a job with Beam's own workers, each in a folder of its own, killed and taken up again."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from pipelines.shared import task_store as module
from pipelines.shared.files import canonical_json, digest_json
from pipelines.shared.jobs import Task
from pipelines.shared.shards import FileInfo, describe
from pipelines.shared.stage import StageRun
from pipelines.shared.storage import RemoteFolder
from pipelines.shared.task_store import TaskStore, Workplace, machine_folder, task_store

ROOT = Path(__file__).resolve().parents[3]
WORKERS = ("--direct_running_mode=multi_processing", "--direct_num_workers=2")
JOB = """
import json, os, signal, sys, time
from pathlib import Path
from pipelines.shared.jobs import Task, run_tasks
from pipelines.shared.shards import FileInfo, describe
from pipelines.shared.stage import StageRun

class Work:
    def __init__(self, log, driver):
        self.log, self.driver = log, driver

    def reads(self, value, scratch):
        return (describe(Path("inputs") / value, Path(), 0),)

    def __call__(self, value, scratch):
        if value == "3" and self.driver:
            limit = time.monotonic() + 10
            while time.monotonic() < limit and not any(self.log.iterdir()):
                time.sleep(0.1)
            time.sleep(0.5)  # what the other worker has done gets into the store
            os.kill(self.driver, signal.SIGKILL)
            raise ValueError("the job is gone")
        (self.log / f"{value}-{os.getpid()}").touch()
        path = scratch / f"{value}.tar"
        path.write_text((Path("inputs") / value).read_text() * 2)
        return {"shard": describe(path, scratch, 1).as_dict(), "folder": os.getcwd()}

if __name__ == "__main__":
    log, store, driver = Path(sys.argv[1]), sys.argv[2], os.getpid() if sys.argv[3] == "killed" else 0
    run = StageRun(stage="toy", key="k", params={"store": store}, beam_options=tuple(sys.argv[4:]))
    with run.scratch("x") as scratch:
        results = run_tasks(run, [Task(str(value), str(value)) for value in range(6)], Work(log, driver), scratch)
        texts = [FileInfo(**result["shard"]).check(scratch).read_text() for result in results]
        print(json.dumps([texts, sorted({result["folder"] for result in results}), os.getcwd()]))
"""


SCRATCH = Path(".vignette/scratch/toy/k/0123")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TaskStore]:
    """A store in memory, and a project of one file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a.tar").write_text("a shard")
    yield TaskStore(RemoteFolder("memory://store"), "scratch/toy/k/0123")
    fsspec.filesystem("memory").store.clear()


def shard() -> FileInfo:
    return describe(Path("data/a.tar"), Path(), 1)


def kept(store: TaskStore, name: str, text: str) -> dict[str, Any]:
    """A task's result that is in the store, and no longer on this machine."""
    SCRATCH.mkdir(parents=True, exist_ok=True)
    path = SCRATCH / f"{name}.tar"
    path.write_text(text)
    result = {"shard": describe(path, SCRATCH, 1).as_dict(), "number": 3}
    store.keep(name, result, SCRATCH)
    for each in SCRATCH.iterdir():
        each.unlink()
    return result


def test_a_file_goes_there_and_back(store: TaskStore, tmp_path: Path) -> None:
    store.offer([shard()])
    store.fetch(shard(), tmp_path / "elsewhere")
    assert (tmp_path / "elsewhere/data/a.tar").read_text() == "a shard"
    assert list(store.folder.listed()) == [f"files/{shard().sha256[:2]}/{shard().sha256}"]


def test_nothing_is_sent_twice(store: TaskStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.offer([shard()])
    monkeypatch.setattr(RemoteFolder, "upload", lambda *_: pytest.fail("sent again"))
    store.offer([shard()])


def test_a_file_that_its_manifest_does_not_list_is_not_sent(store: TaskStore) -> None:
    info = shard()
    Path("data/a.tar").write_text("another")
    with pytest.raises(ValueError, match="is not the file that its manifest lists"):
        store.offer([info])
    assert not store.folder.listed()


@pytest.mark.parametrize("name", ["../outside", "/abs/outside"])
def test_files_outside_the_project(store: TaskStore, name: str) -> None:
    with pytest.raises(ValueError, match=f"store: {name} is outside the project's folder"):
        store.offer([FileInfo(name=name, num_samples=0, num_bytes=1, sha256="0" * 64)])


def test_a_damaged_or_missing_file_is_refused(store: TaskStore, tmp_path: Path) -> None:
    store.offer([shard()])
    place = f"files/{shard().sha256[:2]}/{shard().sha256}"
    (tmp_path / "bad").write_text("a shart")
    store.folder.upload(tmp_path / "bad", place)
    with pytest.raises(
        ValueError, match=rf"memory://store/{place} is damaged: its sha256 is .*, expected {shard().sha256}"
    ):
        store.fetch(shard(), tmp_path / "elsewhere")
    store.folder.remove(place)
    with pytest.raises(ValueError, match=f"memory://store/{place} does not exist"):
        store.fetch(shard(), tmp_path / "elsewhere")
    assert not list((tmp_path / "elsewhere").rglob("*.tar*"))


def test_results_come_back_with_their_files(store: TaskStore) -> None:
    results = {name: kept(store, name, f"text of {name}") for name in ("one", "two")}
    assert store.finished() == {"one", "two"}
    store.bring([Task("two", 0), Task("three", 0)], SCRATCH)
    assert sorted(path.name for path in SCRATCH.iterdir()) == ["two.json", "two.tar"]
    assert json.loads((SCRATCH / "two.json").read_text()) == results["two"]
    assert (SCRATCH / "two.tar").read_text() == "text of two"
    store.clear()
    assert store.finished() == set() and len(store.folder.listed("files")) == 2


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b'{"result": {"number": 4}, "sha256": "0"}', b"OUT"])
def test_a_damaged_result_is_refused(store: TaskStore, tmp_path: Path, content: bytes) -> None:
    kept(store, "one", "text")
    if content == b"OUT":
        result = {"shard": {"name": "../../out.tar", "num_samples": 1, "num_bytes": 4, "sha256": "0" * 64}}
        content = canonical_json({"result": result, "sha256": digest_json(result)}).encode()
    (tmp_path / "bad").write_bytes(content)
    store.folder.upload(tmp_path / "bad", f"{store.job}/one.json")
    with pytest.raises(ValueError, match=r"memory://store/scratch/toy/k/0123/one.json is damaged: remove it"):
        store.bring([Task("one", 0)], SCRATCH)
    assert not (SCRATCH / "one.json").exists()


def test_a_file_leaves_with_the_last_task_that_reads_it(store: TaskStore, tmp_path: Path) -> None:
    store.offer([shard()])
    info = shard()
    place = Workplace(store)
    assert Path.cwd() != tmp_path and not Path(info.name).exists()
    with place.holding([info]):
        with place.holding([info]):
            assert Path(info.name).read_text() == "a shard"
        assert Path(info.name).exists(), "the other task still reads it"
    assert not Path(info.name).exists()
    place.fetch([info])
    assert Path(info.name).exists()
    assert Path(".vignette/pace").resolve() == machine_folder() / "pace", "hosts' turns are those of the machine"


def test_the_setting(tmp_path: Path) -> None:
    def of(**params: Any) -> TaskStore | None:
        return task_store(StageRun(stage="toy", key="k", params=params), SCRATCH)

    assert of() is None and of(store="") is None
    assert of(store="s3://b/x") == TaskStore(RemoteFolder("s3://b/x"), "scratch/toy/k/0123")
    for value in ("data/store", 3, ["s3://b"]):
        with pytest.raises(ValueError, match=r"params.yaml: store must be a URL such as s3://bucket/prefix"):
            of(store=value)


def test_a_folder_of_another_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.tempfile, "tempdir", str(tmp_path))
    (tmp_path / "theirs").mkdir()
    (tmp_path / f"vignette-{os.getuid()}").symlink_to(tmp_path / "theirs")
    with pytest.raises(ValueError, match="belongs to another user"):
        machine_folder()


def job(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    surroundings = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "job.py", str(folder.parent / "log"), *words, *WORKERS]
    return subprocess.run(
        command, cwd=folder, env=surroundings, capture_output=True, text=True, timeout=90, check=False
    )


def test_a_killed_job_goes_on_from_the_store(s3: str, tmp_path: Path) -> None:
    """Beam's own workers; the second driver is another machine, which has nothing of what the first one did."""
    folders = [tmp_path / "first", tmp_path / "second"]
    (tmp_path / "log").mkdir()
    for folder in folders:
        (folder / "inputs").mkdir(parents=True)
        (folder / "job.py").write_text(JOB)
        for number in range(6):
            (folder / "inputs" / str(number)).write_text(f"input {number};")
    assert job(folders[0], f"{s3}/here", "killed").returncode == -signal.SIGKILL
    store = RemoteFolder(f"{s3}/here")
    finished = {Path(name).stem for name in store.listed("scratch")}
    done = job(folders[1], f"{s3}/here", "")
    assert done.returncode == 0, done.stderr[-3000:]
    texts, places, driver = json.loads(done.stdout)
    assert texts == [f"input {number};" * 2 for number in range(6)]
    assert driver not in places and not any(Path(place).exists() for place in places)
    times = [path.name.partition("-")[0] for path in (tmp_path / "log").iterdir()]
    assert finished and "3" not in finished and all(times.count(name) == 1 for name in finished)
    assert store.listed("scratch") == {} and len(store.listed("files")) == 12
