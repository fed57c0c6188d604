"""The transforms that do tasks; see `pipelines.shared.jobs.run_tasks`."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam

from pipelines.shared.files import write_json
from pipelines.shared.jobs import Task, result_path

Work = Callable[[Any, Path], Mapping[str, Any]]


class DoneTasks(beam.PTransform):
    """From the beginning of a pipeline to the names of the tasks that are done."""

    def __init__(self, tasks: Sequence[Task], work: Work, scratch: Path) -> None:
        """See `run_tasks`."""
        super().__init__()
        self.tasks = tasks
        self.work = work
        self.scratch = scratch

    def expand(self, begin: beam.pvalue.PBegin) -> beam.PCollection:
        """Create, spread over the workers, do."""
        return (
            begin
            | "CreateTasks" >> beam.Create(list(self.tasks))
            | "SpreadTasks" >> beam.Reshuffle()
            | "DoTasks" >> beam.ParDo(TaskDoFn(self.work, self.scratch))
        )


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
