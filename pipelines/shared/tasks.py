"""The transforms that do tasks; see `pipelines.shared.jobs.run_tasks`."""

import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apache_beam as beam

from pipelines.shared.files import naming, write_json
from pipelines.shared.jobs import Task
from pipelines.shared.refusals import RefusedError, count, line_of
from pipelines.shared.results import result_files, result_path
from pipelines.shared.shards import FileInfo
from pipelines.shared.stage import shows_tracebacks
from pipelines.shared.task_store import StoredTask, TaskStore, workplace

FAILED: dict[str, str] = {}  # what was refused in this process, by job: its other tasks are left for the next run
PROCESS = secrets.token_hex(16)  # a worker process that imports this module has another one
Work = Callable[[Any, Path], Mapping[str, Any]]


class DoneTasks(beam.PTransform):
    """From the beginning of a pipeline to the names of the tasks that are done."""

    def __init__(self, tasks: Sequence[Any], do: "TaskDoFn | StoredTaskDoFn") -> None:
        """`do` gets the tasks one by one and yields their names."""
        super().__init__()
        self.tasks = tasks
        self.do = do

    def expand(self, begin: beam.pvalue.PBegin) -> beam.PCollection:
        """Create, spread over the workers, do."""
        return (
            begin
            | "CreateTasks" >> beam.Create(list(self.tasks))
            | "SpreadTasks" >> beam.Reshuffle()
            | "DoTasks" >> self._doing()
        )

    def _doing(self) -> beam.PTransform:
        if not getattr(self.do.work, "has_models", False):
            return beam.ParDo(self.do)
        from pipelines.shared.inference import DoWithModels  # seconds of imports, for those that need them

        return DoWithModels(self.do)


class Refusing(beam.DoFn):
    """What both kinds share: how a task that cannot be done is told, and that no other is then begun.

    `prepare` and `do` are a kind's own. On this machine a refusal does not fail (see `refusals`); the next run goes on
    from what is done.
    """

    def __init__(self, work: Work, scratch: Path, is_quiet: bool) -> None:
        """See `run_tasks`; `is_quiet`: tell by a counter."""
        self.work = work
        self.scratch = scratch
        self.is_quiet = is_quiet
        self.job = secrets.token_hex(16)

    def prepare(self) -> None:
        """Called once by the worker."""
        raise NotImplementedError

    def do(self, task: Any) -> str:
        """Do a task and keep its result; its name."""
        raise NotImplementedError

    def setup(self) -> None:
        """Beam calls it once.

        Raises:
            ValueError: The worker is not where it should be.
        """
        with self._marking():
            self.prepare()

    def load(self) -> None:
        """Load the models of the work; what is wrong with them is told by the first task."""
        try:
            self.work.load()  # type: ignore[attr-defined]
        except (OSError, ValueError) as error:
            if not self.is_quiet:
                with self._marking():
                    raise
            FAILED[self.job] = line_of(error)

    def process(self, task: Any) -> Iterator[str]:
        """Yields the task's name when its result is kept."""
        if self.job in FAILED:
            count(FAILED[self.job])
        elif self.is_quiet:
            try:
                yield self._done(task)
            except (OSError, ValueError) as error:
                FAILED[self.job] = line_of(error)
                count(FAILED[self.job])
        else:
            with self._marking():
                yield self._done(task)

    def _done(self, task: Any) -> str:
        with naming(self.scratch):
            return self.do(task)

    @contextmanager
    def _marking(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:
            if shows_tracebacks() or isinstance(error, RefusedError):
                raise
            raise RefusedError(line_of(error)) from error


class TaskDoFn(Refusing):
    """Does one task and keeps its result as a file.

    A worker works in the folder that the stage was started in, under the same path, wherever the worker was started:
    data, runs and scratch are named relative to it.
    """

    def __init__(self, work: Work, scratch: Path, *, is_quiet: bool = False) -> None:
        """See `run_tasks`."""
        super().__init__(work, scratch, is_quiet)
        self.project = Path.cwd()

    def prepare(self) -> None:
        """Go to the stage's folder.

        Raises:
            ValueError: This machine does not have it.
        """
        if not self.project.is_dir():
            raise ValueError(f"a worker does not see the folder {self.project}: every machine must have it there")
        os.chdir(self.project)

    def do(self, task: Task) -> str:
        """Write the result."""
        write_json(result_path(self.scratch, task.name), self.work(task.value, self.scratch))
        return task.name


class StoredTaskDoFn(Refusing):
    """Does one task in a folder of the worker's own, and keeps its result and the files that it names in a store."""

    def __init__(
        self, work: Work, scratch: Path, store: TaskStore, files: Sequence[FileInfo], *, is_quiet: bool = False
    ) -> None:
        """See `run_tasks`; `files` is what every task reads."""
        super().__init__(work, scratch, is_quiet)
        self.store = store
        self.files = files
        self.made_in = PROCESS

    def prepare(self) -> None:
        """Go to the worker's own folder.

        Raises:
            ValueError: The runner does tasks in the process of the stage, whose folder must not change.
        """
        if self.made_in == PROCESS:
            raise ValueError(
                "store: the runner must start worker processes, such as --direct_running_mode=multi_processing"
            )
        workplace(self.store).fetch(self.files)

    def do(self, stored: StoredTask) -> str:
        """Put the result into the store."""
        name = stored.task.name
        with workplace(self.store).holding(stored.reads):
            self.scratch.mkdir(parents=True, exist_ok=True)
            result = self.work(stored.task.value, self.scratch)
            self.store.keep(name, result, self.scratch)
        for info in result_files(result):
            (self.scratch / info.name).unlink()
        return name
