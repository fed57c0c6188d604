"""Tasks whose work runs models, by Beam's RunInference."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from pipelines.shared.annotating import AnnotateShard, annotator_specs
from pipelines.shared.inference import NAMESPACE, DoWithModels
from pipelines.shared.jobs import Task, run_tasks
from pipelines.shared.stage import StageRun
from pipelines.shared.tasks import TaskDoFn

IN_PROCESS = ("--direct_running_mode=in_memory", "--direct_num_workers=1")


@dataclass(frozen=True)
class Work:
    """Doubles numbers if its model, a file that each loading makes longer, is there."""

    model: Path
    has_models: bool = True

    def load(self) -> None:
        with self.model.open("a") as handle:
            handle.write("x")

    def __call__(self, value: int, scratch: Path) -> dict[str, Any]:
        with (scratch / "calls").open("a") as handle:
            handle.write(f"{value} ")
        return {"double": 2 * value, "loads": len(self.model.read_text()) if self.model.exists() else 0}


class Broken(Work):
    def load(self) -> None:
        raise ValueError("the weights are other ones")


def run() -> StageRun:
    return StageRun(stage="test", key="x", params={}, beam_options=IN_PROCESS)


def test_models_are_loaded_before_the_first_task_and_once(tmp_path: Path) -> None:
    tasks = [Task(f"{index:02d}", index) for index in range(9)]
    found = run_tasks(run(), tasks, Work(tmp_path / "model"), tmp_path)
    assert found == [{"double": 2 * index, "loads": 1} for index in range(9)]
    assert sorted((tmp_path / "calls").read_text().split()) == [str(index) for index in range(9)]


def test_work_without_models_loads_nothing(tmp_path: Path) -> None:
    (found,) = run_tasks(run(), [Task("a", 1)], Work(tmp_path / "model", has_models=False), tmp_path)
    assert found == {"double": 2, "loads": 0}


def test_a_model_that_does_not_load_ends_the_job(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="the weights are other ones"):
        run_tasks(run(), [Task("a", 1)], Broken(tmp_path / "model"), tmp_path)
    assert not (tmp_path / "calls").exists() and not (tmp_path / "a.json").exists()


def test_beam_counts_tasks_and_batches_none_of_them(tmp_path: Path) -> None:
    pipeline = beam.Pipeline(runner=FnApiRunner())
    tasks = [Task(f"{index}", index) for index in range(5)]
    _ = pipeline | beam.Create(tasks) | DoWithModels(TaskDoFn(Work(tmp_path / "model"), tmp_path))
    metrics = pipeline.run().metrics().query()
    counters = {each.key.metric.name: each.committed for each in metrics["counters"]}
    sizes = {
        each.key.metric.name: each.committed
        for each in metrics["distributions"]
        if each.key.metric.namespace == NAMESPACE
    }
    assert counters["num_inferences"] == 5
    assert (sizes["inference_request_batch_size"].min, sizes["inference_request_batch_size"].max) == (1, 1)
    assert sizes["load_model_latency_milli_secs"].count >= 1


def test_annotators_with_models_make_it_a_work_with_models(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    for name in ("load_image_tower", "load_text_tower"):
        monkeypatch.setattr(f"pipelines.annotators.embeddings.{name}", lambda name=name: calls.append(name))

    def work(**entries: Any) -> AnnotateShard:
        return AnnotateShard(folder=Path(), specs=annotator_specs(entries), taken=())

    without = work(phash={"module": "phash"}, stats={"module": "image_stats"})
    assert not without.has_models
    without.load()
    assert calls == []
    both = work(phash={"module": "phash"}, vectors={"module": "embeddings", "captions": False})
    assert both.has_models
    both.load()
    assert calls == ["load_image_tower"]
