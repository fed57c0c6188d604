"""Tasks on Beam's runner: each done once, results kept, in order."""

import pickle
from pathlib import Path
from typing import Any

import pytest

from pipelines.shared.jobs import Task, beam_options, local_runner, run_tasks
from pipelines.shared.stage import StageRun
from pipelines.shared.storage import RemoteFolder
from pipelines.shared.task_store import TaskStore
from pipelines.shared.tasks import StoredTaskDoFn, TaskDoFn

IN_PROCESS = ("--direct_running_mode=in_memory", "--direct_num_workers=1")


def double(value: int, scratch: Path) -> dict[str, Any]:
    """Counts its calls in a file, so that a second call would show."""
    calls = scratch / f"calls-{value}"
    calls.write_text(calls.read_text() + "x" if calls.exists() else "x")
    return {"double": 2 * value}


def run(*options: str) -> StageRun:
    return StageRun(stage="test", key="x", params={}, beam_options=options)


def test_results_come_in_order_and_are_not_made_twice(tmp_path: Path) -> None:
    tasks = [Task(f"{index:02d}", index) for index in range(7)]
    expected = [{"double": 2 * index} for index in range(7)]
    assert run_tasks(run(*IN_PROCESS), tasks, double, tmp_path) == expected
    (tmp_path / "03.json").unlink()
    assert run_tasks(run(*IN_PROCESS), tasks, double, tmp_path) == expected
    calls = [(tmp_path / f"calls-{index}").read_text() for index in range(7)]
    assert calls == ["xx" if index == 3 else "x" for index in range(7)]


@pytest.mark.parametrize("runner", ["DaskRunner", "DirectRunner"])
def test_refused_runners(runner: str) -> None:
    with pytest.raises(ValueError, match=f"--runner {runner} is refused"):
        beam_options(run(f"--runner={runner}"))


def test_our_workers_only_for_the_local_runner() -> None:
    assert local_runner(beam_options(run())) is not None
    assert local_runner(beam_options(run(*IN_PROCESS))) is None
    assert local_runner(beam_options(run("--runner=PortableRunner"))) is None


def test_a_worker_works_in_the_folder_of_the_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    for folder in (project / "scratch", elsewhere):
        folder.mkdir(parents=True)
    monkeypatch.chdir(project)
    sent = pickle.dumps(TaskDoFn(double, Path("scratch")))
    monkeypatch.chdir(elsewhere)
    worker = pickle.loads(sent)
    worker.setup()
    assert list(worker.process(Task("a", 4))) == ["a"]
    assert (project / "scratch" / "a.json").exists() and not list(elsewhere.iterdir())


def test_a_worker_without_the_folder_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.chdir(project)
    worker = TaskDoFn(double, Path("scratch"))
    project.rmdir()
    with pytest.raises(ValueError, match="a worker does not see the folder"):
        worker.setup()


def test_a_worker_of_a_store_leaves_the_stage_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    worker = StoredTaskDoFn(double, Path("scratch"), TaskStore(RemoteFolder("memory://x"), "scratch/t/k/0"), ())
    with pytest.raises(ValueError, match="store: the runner must start worker processes"):
        worker.setup()
    assert Path.cwd() == tmp_path
