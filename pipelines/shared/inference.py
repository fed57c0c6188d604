"""Tasks that run models, by Beam's `RunInference`: models are loaded before the first task, and Beam measures them.

The element of the pipeline is a task, a shard as everywhere, and comes to `RunInference` as a batch of its own, so
Beam batches nothing by the clock and no pixel leaves the task: the batches of a model are cut by the shard. Beam loads
what a task needs once per worker process and reports, under `vignette`, how long that took and how much memory, and
how long each task.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import apache_beam as beam
from apache_beam.ml.inference.base import ModelHandler, RunInference

if TYPE_CHECKING:
    from pipelines.shared.tasks import StoredTaskDoFn, TaskDoFn

    Doing: TypeAlias = TaskDoFn | StoredTaskDoFn

NAMESPACE = "vignette"


class TaskHandler(ModelHandler[Any, str, "Doing"]):
    """What does tasks, as a model: to load it loads the models of its work."""

    def __init__(self, do: "Doing") -> None:
        """`do`: gets tasks one by one and yields their names; its `work` has models."""
        super().__init__()
        self.do = do

    def load_model(self) -> "Doing":
        """Once per worker process."""
        self.do.setup()
        self.do.load()
        return self.do

    def run_inference(
        self, batch: Sequence[Any], model: "Doing", inference_args: dict[str, Any] | None = None
    ) -> Iterable[str]:
        """The names of the tasks, when they are done."""
        return [name for task in batch for name in model.process(task)]

    def get_metrics_namespace(self) -> str:
        """The first part of the names of Beam's metrics."""
        return NAMESPACE


class DoWithModels(beam.PTransform):
    """From tasks to the names of those that are done."""

    def __init__(self, do: "Doing") -> None:
        """`do`: see `TaskHandler`."""
        super().__init__()
        self.do = do

    def expand(self, tasks: beam.PCollection) -> beam.PCollection:
        """Each task is a batch of one."""
        return (
            tasks | "OneByOne" >> beam.Map(lambda task: [task]) | RunInference(TaskHandler(self.do).with_no_batching())
        )
