"""The transforms that do tasks; see `pipelines.shared.jobs.run_tasks`."""

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
    """Does one task and keeps its result as a file."""

    def __init__(self, work: Work, scratch: Path) -> None:
        """See `run_tasks`."""
        self.work = work
        self.scratch = scratch

    def process(self, task: Task) -> Iterator[str]:
        """Yields the task's name when its result is written."""
        write_json(result_path(self.scratch, task.name), self.work(task.value, self.scratch))
        yield task.name
