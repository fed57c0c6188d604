"""The one place that builds and runs a Beam pipeline.

Locally Beam's `FnApiRunner`, named explicitly: `DirectRunner` tries to download a binary first. Any other portable
runner by the standard Beam options, given after the stage's key or in `params.yaml` `beam:`. `DaskRunner` is refused,
because it loses records (all but the last branch of a pipeline, the last batch, tagged outputs).
"""

import json
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from pipelines.shared.files import write_json
from pipelines.shared.progress import progress
from pipelines.shared.stage import StageRun

LOCAL_RUNNER = "FnApiRunner"
REFUSED_RUNNERS = {
    "DaskRunner": "it loses records",
    "DirectRunner": "it tries to download a binary first; use FnApiRunner",
}
POLL_SEC = 0.2


@dataclass(frozen=True, slots=True)
class Task:
    """A piece of work whose result is kept.

    Attributes:
        name: Its name, unique in the job; the result is `<scratch>/<name>.json`.
        value: What the work needs, small and picklable; never pixels.
    """

    name: str
    value: Any


def beam_options(run: StageRun) -> PipelineOptions:
    """Beam options from `params.yaml` `beam:`, overridden by those of the command line.

    Raises:
        ValueError: The runner is one that is refused.
    """
    defaults = {
        "runner": LOCAL_RUNNER,
        "direct_running_mode": "multi_processing",
        "direct_num_workers": 0,
    }
    settings = {**defaults, **(run.params.get("beam") or {})}
    flags = [f"--{name}" if value is True else f"--{name}={value}" for name, value in settings.items()]
    options = PipelineOptions([*flags, *run.beam_options])
    runner = options.get_all_options()["runner"]
    if runner in REFUSED_RUNNERS:
        raise ValueError(f"--runner {runner} is refused: {REFUSED_RUNNERS[runner]}")
    return options


def run_pipeline(run: StageRun, construct: Callable[[beam.Pipeline], None]) -> None:
    """Build a pipeline, run it and wait for its end.

    Args:
        run: The stage run; gives the options.
        construct: Adds the transforms.
    """
    with beam.Pipeline(options=beam_options(run)) as pipeline:
        construct(pipeline)


def run_tasks(
    run: StageRun, tasks: Sequence[Task], work: Callable[[Any, Path], Mapping[str, Any]], scratch: Path
) -> list[dict[str, Any]]:
    """Do tasks in parallel on Beam, each one once: what a killed run finished is not done again.

    Args:
        run: The stage run.
        tasks: What to do; names are unique.
        work: Called with a task's value and the scratch folder; writes what it makes into the folder, atomically, and
            returns a small JSON result. Must be picklable and depend on its arguments alone.
        scratch: The folder, seen by all workers; unfinished work of an earlier run may be in it.

    Returns:
        The results, in the order of the tasks.
    """
    assert len({task.name for task in tasks}) == len(tasks), "names of tasks must be unique"
    waiting = [task for task in tasks if not _result(scratch, task.name).exists()]
    with _progress(run, tasks, scratch):
        if waiting:
            run_pipeline(
                run,
                lambda pipeline: (
                    pipeline
                    | "CreateTasks" >> beam.Create(waiting)
                    | "SpreadTasks" >> beam.Reshuffle()
                    | "DoTasks" >> beam.ParDo(TaskDoFn(work, scratch))
                ),
            )
    return [json.loads(_result(scratch, task.name).read_bytes()) for task in tasks]


class TaskDoFn(beam.DoFn):
    """Does one task and keeps its result as a file."""

    def __init__(self, work: Callable[[Any, Path], Mapping[str, Any]], scratch: Path) -> None:
        """See `run_tasks`."""
        self.work = work
        self.scratch = scratch

    def setup(self) -> None:
        """A worker's harness logs at INFO whatever the options say."""
        logging.getLogger().setLevel(logging.WARNING)

    def process(self, task: Task) -> Iterator[str]:
        """Yields the task's name when its result is written."""
        write_json(_result(self.scratch, task.name), self.work(task.value, self.scratch))
        yield task.name


def _result(scratch: Path, name: str) -> Path:
    return scratch / f"{name}.json"


@contextmanager
def _progress(run: StageRun, tasks: Sequence[Task], scratch: Path) -> Iterator[None]:
    """A bar with counts and time left, driven by the results that appear."""

    def finished() -> int:
        return sum(_result(scratch, task.name).exists() for task in tasks)

    done = threading.Event()
    with progress(total=len(tasks), desc=f"{run.stage} {run.key}", unit="shard", initial=finished()) as bar:

        def watch() -> None:
            while not done.wait(POLL_SEC):
                bar.update(finished() - bar.n)

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()
            bar.update(finished() - bar.n)
