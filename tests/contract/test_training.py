"""What the training loop promises for every model plug-in, tried on the `tiny()` of its mirrored test.

A killed run that goes on ends with the bits of an undisturbed one, so a model keeps all its state in its state dict; a
validation loss leaves no trace; micro-batches of a contrastive model have the gradient of the whole batch.
"""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from models import Contrastive, Featurizing
from pipelines.shared.training.data import ValidationLoader
from pipelines.shared.training.distributed import World
from pipelines.shared.training.gradients import Stepper
from pipelines.shared.training.loop import Job, fit
from pipelines.shared.training.optim import parameter_groups
from pipelines.shared.training.settings import TrainingSettings

ROOT = Path(__file__).resolve().parents[2]
CPU = torch.device("cpu")
STEPS, KILLED_AFTER = 4, 2


def mirrored_test(name: str) -> ModuleType:
    path = ROOT / "tests" / "models" / f"test_{name}.py"
    spec = importlib.util.spec_from_file_location(f"trained_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def has_tiny(path: Path) -> bool:
    mirror = ROOT / "tests" / "models" / f"test_{path.name}"
    return mirror.exists() and "\ndef tiny(" in mirror.read_text()


NAMES = sorted(path.stem for path in (ROOT / "models").glob("*.py") if has_tiny(path))
each_model = pytest.mark.parametrize("name", NAMES)


def build(name: str) -> tuple[Any, dict[str, Any]]:
    """A model and a batch with what its step reads and nothing else."""
    model, batch = mirrored_test(name).tiny()
    if isinstance(model, Featurizing):
        batch = {**batch, **model.eval().frozen_features(batch)}
    return model, {key: batch[key] for key in model.batch_keys}


def rows(batch: dict[str, Any], start: int, stop: int) -> dict[str, Any]:
    return {name: value[start:stop] for name, value in batch.items()}


class OneBatch:
    """The same batch at every step; a run is killed when it asks for the batch of step `killed_after`."""

    def __init__(self, batch: dict[str, Any], killed_after: int = -1) -> None:
        self.batch, self.killed_after = batch, killed_after

    def batches(self, first: int, stop: int) -> Any:
        for step in range(first, stop):
            if step == self.killed_after:
                raise SystemError("killed")
            yield self.batch


class OneValidationBatch(ValidationLoader):
    def parts(self, start: int, stop: int) -> Any:
        yield self.rows


def train(name: str, folder: Path, killed_after: int = -1, validate_every: int = 0) -> Any:
    model, batch = build(name)
    size = len(next(iter(batch.values())))
    job = Job(
        name=name,
        model=model,
        settings=TrainingSettings(
            steps=STEPS,
            batch_size=size,
            learning_rate=1e-3,
            ema=0.9,
            log_every=1,
            validate_every=validate_every,
            checkpoint_every_sec=0.0,
        ),
        train=OneBatch(batch, killed_after),
        validation=OneValidationBatch(rows=batch, picks=range(size), to_model=None, batch_size=size, part_size=size),
        world=World(CPU),
        seed=0,
        folder=folder,
    )
    return fit(job)


def assert_same(first: Any, second: Any) -> None:
    theirs = second.model.state_dict()
    for name, value in first.model.state_dict().items():
        assert torch.equal(theirs[name], value), name
    for name, value in first.average.average.items():
        assert torch.equal(second.average.average[name], value), name


@pytest.fixture(autouse=True)
def _exact() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.set_deterministic_debug_mode("error")
    yield
    torch.set_deterministic_debug_mode("default")
    torch.set_num_threads(threads)


@each_model
def test_a_killed_run_ends_with_the_bits_of_an_undisturbed_one(name: str, tmp_path: Path) -> None:
    straight = train(name, tmp_path / "straight")
    with pytest.raises(SystemError, match="killed"):
        train(name, tmp_path / "killed", KILLED_AFTER)
    resumed = train(name, tmp_path / "killed")
    assert_same(straight, resumed)
    assert resumed.rows == straight.rows
    assert [row["step"] for row in resumed.rows] == list(range(1, STEPS + 1))


@each_model
def test_validation_leaves_no_trace(name: str, tmp_path: Path) -> None:
    plain = train(name, tmp_path / "plain")
    validated = train(name, tmp_path / "validated", validate_every=1)
    assert_same(plain, validated)
    assert all("val/loss" in row or any(key.startswith("val/") for key in row) for row in validated.rows)


@each_model
def test_contrastive_micro_batches_are_the_whole_batch(name: str) -> None:
    model, batch = build(name)
    if not isinstance(model, Contrastive):
        pytest.skip(f"{name} is not contrastive")
    model.eval()  # without dropout, whose masks are the micro-batches' own
    size = len(next(iter(batch.values()))) // 2 * 2  # micro-batches are of one size
    batch = rows(batch, 0, size)
    stepper = Stepper(model=model, groups=parameter_groups(model), world=World(CPU), seed=0)
    stepper.gradients([batch], 0)
    whole = {key: parameter.grad.clone() for key, parameter in model.named_parameters() if parameter.grad is not None}
    stepper.gradients([rows(batch, 0, size // 2), rows(batch, size // 2, size)], 0)
    parts = {key: parameter.grad for key, parameter in model.named_parameters() if parameter.grad is not None}
    assert set(parts) == set(whole)
    for key, value in whole.items():
        torch.testing.assert_close(parts[key], value, rtol=1e-3, atol=1e-5)
