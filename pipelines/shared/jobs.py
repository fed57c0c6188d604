"""The one place that builds and runs a Beam pipeline.

Locally Beam's `FnApiRunner`, named explicitly: `DirectRunner` tries to download a binary first. Any other portable
runner by the standard Beam options, given after the stage's key or in `params.yaml` `beam:`. `DaskRunner` is refused,
because it loses records (all but the last branch of a pipeline, the last batch, tagged outputs).
"""

import json
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.shared.progress import progress
from pipelines.shared.stage import StageRun

if TYPE_CHECKING:
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

LOCAL_RUNNER = "FnApiRunner"
WORKER_MODULE = "pipelines.shared.worker"
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
        digest: Digest of all that decides the result and the files that it names (`shard`, `layer`): the name, inputs,
            settings and code (see `task_cache`). Empty for a task that is never in the cache.
    """

    name: str
    value: Any
    digest: str = ""


def beam_options(run: StageRun) -> "PipelineOptions":
    """Beam options from `params.yaml` `beam:`, overridden by those of the command line.

    Raises:
        ValueError: The runner is one that is refused.
    """
    from apache_beam.options.pipeline_options import PipelineOptions

    defaults = {"runner": LOCAL_RUNNER, "direct_running_mode": "multi_processing", "direct_num_workers": 0}
    settings = {**defaults, **(run.params.get("beam") or {})}
    flags = [f"--{name}" if value is True else f"--{name}={value}" for name, value in settings.items()]
    options = PipelineOptions([*flags, *run.beam_options])
    runner = options.get_all_options()["runner"]
    if runner in REFUSED_RUNNERS:
        raise ValueError(f"--runner {runner} is refused: {REFUSED_RUNNERS[runner]}")
    return options


def run_pipeline(run: StageRun, construct: "Callable[[beam.Pipeline], None]") -> None:
    """Build a pipeline, run it and wait for its end.

    Args:
        run: The stage run; gives the options.
        construct: Adds the transforms.
    """
    import apache_beam as beam

    options = beam_options(run)
    with beam.Pipeline(runner=local_runner(options), options=options) as pipeline:
        construct(pipeline)


def local_runner(options: "PipelineOptions") -> Any:
    """`FnApiRunner` whose workers start as `pipelines.shared.worker`; None for another runner or mode."""
    from apache_beam.options.pipeline_options import DirectOptions, StandardOptions
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner

    from pipelines.shared.local_workers import LocalWorkers

    local = options.view_as(DirectOptions)
    if options.view_as(StandardOptions).runner != LOCAL_RUNNER or local.direct_running_mode != "multi_processing":
        return None
    local.direct_running_mode = "in_memory"  # or the runner would put its own worker command in place of ours
    command = f"{sys.executable} -m {WORKER_MODULE}"
    return FnApiRunner(default_environment=LocalWorkers.from_command_string(command_string=command))


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
    waiting = [task for task in tasks if not result_path(scratch, task.name).exists()]
    with _progress(run, tasks, scratch):
        if waiting:
            from pipelines.shared.tasks import DoneTasks

            run_pipeline(run, lambda pipeline: pipeline | DoneTasks(waiting, work, scratch))
    return [json.loads(result_path(scratch, task.name).read_bytes()) for task in tasks]


def result_path(scratch: Path, name: str) -> Path:
    """Where the result of a task is kept."""
    return scratch / f"{name}.json"


@contextmanager
def _progress(run: StageRun, tasks: Sequence[Task], scratch: Path) -> Iterator[None]:
    """A bar with counts and time left, driven by the results that appear."""

    def finished() -> int:
        return sum(result_path(scratch, task.name).exists() for task in tasks)

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
