"""The transforms that do tasks; see `pipelines.shared.jobs.run_tasks`."""

import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam

from pipelines.shared.files import write_json
from pipelines.shared.jobs import Task, result_files, result_path
from pipelines.shared.shards import FileInfo
from pipelines.shared.task_store import StoredTask, TaskStore, workplace

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


class TaskDoFn(beam.DoFn):
    """Does one task and keeps its result as a file.

    A worker works in the folder that the stage was started in, under the same path, wherever the worker was started:
    data, runs and scratch are named relative to it.
    """

    def __init__(self, work: Work, scratch: Path) -> None:
        """See `run_tasks`."""
        self.work = work
        self.scratch = scratch
        self.project = Path.cwd()

    def setup(self) -> None:
        """Go to the stage's folder.

        Raises:
            ValueError: This machine does not have it.
        """
        if not self.project.is_dir():
            raise ValueError(f"a worker does not see the folder {self.project}: every machine must have it there")
        os.chdir(self.project)

    def process(self, task: Task) -> Iterator[str]:
        """Yields the task's name when its result is written."""
        write_json(result_path(self.scratch, task.name), self.work(task.value, self.scratch))
        yield task.name


class StoredTaskDoFn(beam.DoFn):
    """Does one task in a folder of the worker's own, and keeps its result and the files that it names in a store."""

    def __init__(self, work: Work, scratch: Path, store: TaskStore, files: Sequence[FileInfo]) -> None:
        """See `run_tasks`; `files` is what every task reads."""
        self.work = work
        self.scratch = scratch
        self.store = store
        self.files = files
        self.made_in = PROCESS

    def setup(self) -> None:
        """Go to the worker's own folder.

        Raises:
            ValueError: The runner does tasks in the process of the stage, whose folder must not change.
        """
        if self.made_in == PROCESS:
            raise ValueError(
                "store: the runner must start worker processes, such as --direct_running_mode=multi_processing"
            )
        workplace(self.store).fetch(self.files)

    def process(self, stored: StoredTask) -> Iterator[str]:
        """Yields the task's name when its result is in the store."""
        name = stored.task.name
        with workplace(self.store).holding(stored.reads):
            self.scratch.mkdir(parents=True, exist_ok=True)
            result = self.work(stored.task.value, self.scratch)
            self.store.keep(name, result, self.scratch)
        for info in result_files(result):
            (self.scratch / info.name).unlink()
        yield name
