"""Beam options and what happens to tasks when something fails; see test_tasks.py for the runs that go well."""

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import DirectOptions, StandardOptions

from pipelines.shared.jobs import Task, beam_options, run_pipeline, run_tasks
from pipelines.shared.stage import StageRun

IN_PROCESS = ("--direct_running_mode=in_memory", "--direct_num_workers=1")
KILLED = """
import os, signal, sys
from pathlib import Path
from pipelines.shared.jobs import Task, run_tasks
from pipelines.shared.stage import StageRun

def work(value, scratch):
    if value == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return {"value": value}

options = ("--direct_running_mode=in_memory", "--direct_num_workers=1")
run = StageRun(stage="t", key="k", params={}, beam_options=options)
run_tasks(run, [Task(str(index), index) for index in range(6)], work, Path(sys.argv[1]))
"""


def run(*options: str, **params: Any) -> StageRun:
    return StageRun(stage="test", key="x", params=params, beam_options=options)


def fail_at_three(value: int, scratch: Path) -> dict[str, Any]:
    (scratch / f"tried-{value}").touch()
    if value == 3 and not (scratch / "mended").exists():
        raise OSError("disk on fire")
    return {"value": value}


def test_options_of_params_and_command_line() -> None:
    defaults = beam_options(run())
    assert defaults.view_as(StandardOptions).runner == "FnApiRunner"
    assert defaults.view_as(DirectOptions).direct_running_mode == "multi_processing"
    from_params = run(beam={"direct_num_workers": 5, "streaming": True})
    assert beam_options(from_params).view_as(DirectOptions).direct_num_workers == 5
    assert beam_options(from_params).view_as(StandardOptions).streaming
    both = run("--direct_num_workers=7", beam={"direct_num_workers": 5})
    assert beam_options(both).view_as(DirectOptions).direct_num_workers == 7


def test_refused_runner_in_params() -> None:
    with pytest.raises(ValueError, match="--runner DaskRunner is refused: it loses records"):
        beam_options(run(beam={"runner": "DaskRunner"}))


def test_a_pipeline_of_ones_own(tmp_path: Path) -> None:
    def construct(pipeline: beam.Pipeline) -> None:
        numbers = pipeline | beam.Create([3, 1, 2])
        _ = numbers | beam.CombineGlobally(sum) | beam.Map(lambda total: (tmp_path / "sum").write_text(str(total)))

    run_pipeline(run(*IN_PROCESS), construct)
    assert (tmp_path / "sum").read_text() == "6"


def test_failure_keeps_what_was_done(tmp_path: Path) -> None:
    tasks = [Task(str(index), index) for index in range(6)]
    with pytest.raises(Exception, match="disk on fire"):
        run_tasks(run(*IN_PROCESS), tasks, fail_at_three, tmp_path)
    assert not (tmp_path / "3.json").exists()
    done = {path.stem for path in tmp_path.glob("*.json")}
    for path in tmp_path.glob("tried-*"):
        path.unlink()
    (tmp_path / "mended").touch()
    assert run_tasks(run(*IN_PROCESS), tasks, fail_at_three, tmp_path) == [{"value": index} for index in range(6)]
    assert {path.name.partition("-")[2] for path in tmp_path.glob("tried-*")} == set("012345") - done


def test_killed_run_goes_on(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(KILLED)
    done = subprocess.run([sys.executable, str(tmp_path / "script.py"), str(tmp_path)], capture_output=True)
    assert done.returncode == -signal.SIGKILL and not (tmp_path / "3.json").exists()
    (tmp_path / "mended").touch()
    tasks = [Task(str(index), index) for index in range(6)]
    assert run_tasks(run(*IN_PROCESS), tasks, fail_at_three, tmp_path) == [{"value": index} for index in range(6)]


def test_a_task_that_is_tried_several_times_counts_once(tmp_path: Path) -> None:
    """This runner tries a bundle up to four times and takes its other elements along."""
    tasks = [Task(str(index), index) for index in range(6)]
    with pytest.raises(Exception, match="disk on fire"):
        run_tasks(run("--runner=BundleBasedDirectRunner"), tasks, fail_at_three, tmp_path)
    (tmp_path / "mended").touch()
    results = run_tasks(run("--runner=BundleBasedDirectRunner"), tasks, fail_at_three, tmp_path)
    assert results == [{"value": index} for index in range(6)]


def test_nothing_to_do_starts_no_beam(tmp_path: Path) -> None:
    assert run_tasks(run("--runner=NoSuchRunner"), [], fail_at_three, tmp_path) == []
    (tmp_path / "1.json").write_text('{"value": 1}')
    assert run_tasks(run("--runner=NoSuchRunner"), [Task("1", 1)], fail_at_three, tmp_path) == [{"value": 1}]


def test_names_are_unique(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="names of tasks must be unique"):
        run_tasks(run(), [Task("a", 1), Task("a", 2)], fail_at_three, tmp_path)
    assert list(tmp_path.iterdir()) == []
