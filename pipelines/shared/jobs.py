"""The one place that builds and runs a Beam pipeline.

Locally Beam's `FnApiRunner`, named explicitly: `DirectRunner` tries to download a binary first. Any other portable
runner by the standard Beam options, given after the stage's key or in `params.yaml` `beam:`. `DaskRunner` is refused,
because it loses records (all but the last branch of a pipeline, the last batch, tagged outputs).
"""

import json
import shlex
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.shared.progress import progress
from pipelines.shared.refusals import counted, line_of, marked
from pipelines.shared.results import result_path
from pipelines.shared.stage import StageRun, shows_tracebacks

if TYPE_CHECKING:
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    from pipelines.shared.task_store import TaskStore

LOCAL_RUNNER = "FnApiRunner"
WORKER_MODULE = "pipelines.shared.worker"
REFUSED_RUNNERS = {
    "DaskRunner": "it loses records",
    "DirectRunner": "it tries to download a binary first; use FnApiRunner",
}
POLL_SEC = 0.2
STORE_POLL_SEC = 5.0


@dataclass(frozen=True, slots=True)
class Task:
    """A piece of work whose result is kept.

    Attributes:
        name: Its name, unique in the job; the result is `<scratch>/<name>.json`.
        value: What the work needs, small and picklable; never pixels.
        digest: Digest of all that decides the result and the files that it names (see `results`): the name, inputs,
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


def run_pipeline(run: StageRun, construct: "Callable[[beam.Pipeline], None]") -> list[str]:
    """Build a pipeline, run it and wait for its end.

    Args:
        run: The stage run; gives the options.
        construct: Adds the transforms.

    Returns:
        What tasks have refused (see `refusals`).
    """
    import apache_beam as beam

    options = beam_options(run)
    with beam.Pipeline(runner=local_runner(options), options=options) as pipeline:
        construct(pipeline)
    return counted(pipeline.result)


def local_runner(options: "PipelineOptions") -> Any:
    """`FnApiRunner` whose workers start as `pipelines.shared.worker`; None for another runner or mode."""
    from apache_beam.options.pipeline_options import DirectOptions, StandardOptions
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner

    from pipelines.shared.local_workers import LocalWorkers

    local = options.view_as(DirectOptions)
    if options.view_as(StandardOptions).runner != LOCAL_RUNNER or local.direct_running_mode != "multi_processing":
        return None
    local.direct_running_mode = "in_memory"  # or the runner would put its own worker command in place of ours
    command = f"exec {shlex.quote(sys.executable)} -m {WORKER_MODULE}"  # no shell between the worker and us
    return FnApiRunner(default_environment=LocalWorkers.from_command_string(command_string=command))


def run_tasks(
    run: StageRun, tasks: Sequence[Task], work: Callable[[Any, Path], Mapping[str, Any]], scratch: Path
) -> list[dict[str, Any]]:
    """Do tasks in parallel on Beam, each one once: what a killed run finished is not done again.

    Args:
        run: The stage run.
        tasks: What to do; names are unique.
        work: Called with a task's value and the scratch folder; writes what it makes into the folder, atomically, and
            returns a small JSON result. Must be picklable and depend on its arguments alone. For workers that do not
            see the project's folder it has `reads(value, scratch)`, the files that a task reads as `FileInfo` relative
            to that folder, and may have `files()`, paths that every task reads. Work that `has_models` loads
            them by `load()` and is done by Beam's `RunInference` (see `inference`).
        scratch: The folder; unfinished work of an earlier run may be in it. All workers see it, or, with `store` in
            `params.yaml`, none (see `task_store`).

    Returns:
        The results, in the order of the tasks.

    Raises:
        ValueError: A task has refused something, or the disk has; the others were let finish or left for the next run.
    """
    from pipelines.shared.task_store import task_store

    assert len({task.name for task in tasks}) == len(tasks), "names of tasks must be unique"
    store = task_store(run, scratch)
    if store:
        store.bring(_waiting(tasks, scratch), scratch)
    waiting = _waiting(tasks, scratch)
    transform = _transform(run, waiting, work, scratch, store) if waiting else None
    with _progress(run, tasks, scratch, store):
        if transform:
            _do(run, transform)
    if store:
        store.bring(waiting, scratch)
        store.clear()
    if lacking := _waiting(tasks, scratch):
        raise ValueError(f"{len(lacking)} of {len(tasks)} tasks were not done; the workers' logs say why")
    return [json.loads(result_path(scratch, task.name).read_bytes()) for task in tasks]


def is_quiet(run: StageRun) -> bool:
    """Whether a task that refuses something says so by a counter: on this machine, unless tracebacks are asked for."""
    from apache_beam.options.pipeline_options import StandardOptions

    return beam_options(run).view_as(StandardOptions).runner == LOCAL_RUNNER and not shows_tracebacks()


def _do(run: StageRun, transform: "beam.PTransform") -> None:
    """Run the tasks; a refusal is a ValueError with its one line."""
    from pipelines.shared.local_workers import deaths, quiet_channels

    deaths.clear()
    try:
        with nullcontext() if shows_tracebacks() else quiet_channels():
            refused = run_pipeline(run, lambda pipeline: pipeline | transform)
    except Exception as error:
        if shows_tracebacks():
            raise
        if message := marked(str(error)) or next(iter(deaths), None):
            raise ValueError(message) from error
        if isinstance(error, OSError):
            raise ValueError(line_of(error)) from error
        raise
    if refused:
        more = f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""
        raise ValueError(refused[0] + more)


def _waiting(tasks: Sequence[Task], scratch: Path) -> list[Task]:
    """The tasks without a result."""
    return [task for task in tasks if not result_path(scratch, task.name).exists()]


def _transform(
    run: StageRun,
    waiting: Sequence[Task],
    work: Callable[[Any, Path], Mapping[str, Any]],
    scratch: Path,
    store: "TaskStore | None",
) -> "beam.PTransform":
    """What does the tasks; with a store, once all that they read is there."""
    from pipelines.shared.tasks import DoneTasks, StoredTaskDoFn, TaskDoFn

    if store is None:
        return DoneTasks(waiting, TaskDoFn(work, scratch, is_quiet=is_quiet(run)))
    do = StoredTaskDoFn(work, scratch, store, store.offered_to_all(work), is_quiet=is_quiet(run))
    return DoneTasks(store.offered(waiting, work, scratch), do)


@contextmanager
def _progress(run: StageRun, tasks: Sequence[Task], scratch: Path, store: "TaskStore | None") -> Iterator[None]:
    """A bar with counts and time left, driven by the results that appear."""
    waiting = {task.name for task in _waiting(tasks, scratch)}
    before = len(tasks) - len(waiting)

    def finished() -> int:
        if store is None:
            return len(tasks) - len(_waiting(tasks, scratch))
        with suppress(ValueError):  # a bar is no reason to stop
            return before + len(store.finished() & waiting)
        return before

    done = threading.Event()
    with progress(total=len(tasks), desc=f"{run.stage} {run.key}", unit="shard", initial=before) as bar:

        def watch() -> None:
            while not done.wait(STORE_POLL_SEC if store else POLL_SEC):
                bar.update(max(0, finished() - bar.n))

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()
            bar.update(max(0, finished() - bar.n))
