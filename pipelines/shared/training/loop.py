"""The one training loop. It drives every model through the protocols of `models`, and knows none of them.

A step: micro-batches, gradient of the whole batch, clipping, AdamW, what the model does after a step, moving average.
On a CPU only deterministic operations are used, and all random numbers come from (seed, step, place in the batch). So a
run that was killed and goes on from its resume file ends with the same bits as one that was left alone, on the same
build, device and number of threads.
"""

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

from models import Contrastive, Stepping
from pipelines.shared.progress import progress
from pipelines.shared.training.checkpoint import TrainingState
from pipelines.shared.training.data import TrainLoader, ValidationLoader
from pipelines.shared.training.distributed import World
from pipelines.shared.training.gradients import Losses, Stepper
from pipelines.shared.training.history import History, Row, columns
from pipelines.shared.training.optim import (
    MovingAverage,
    build_optimizers,
    clipped_norm,
    learning_rate,
    parameter_groups,
)
from pipelines.shared.training.settings import TrainingSettings
from pipelines.shared.training.stopping import StopRequests

DVCLIVE = "dvclive"
LIVE_METRICS = f"{DVCLIVE}/plots/metrics"


@dataclass(frozen=True, kw_only=True)
class Job:
    """A training run.

    Attributes:
        name: For messages, such as `train clip-web`.
        model: The model, on its device.
        settings: How it is trained.
        train: Batches to train on; None where no step is taken.
        validation: What the validation loss is computed on; None for none.
        world: This process among all.
        seed: Seed of all randomness of the run.
        folder: Scratch, for the resume file and the histories while it runs.
    """

    name: str
    model: nn.Module
    settings: TrainingSettings
    train: TrainLoader | None
    validation: ValidationLoader | None
    world: World
    seed: int
    folder: Path


def fit(job: Job) -> TrainingState:
    """Train a model to the end, from where its resume file says.

    Returns:
        The state after the last step.

    Raises:
        ValueError: A loss or a gradient is not a finite number.
        KeyboardInterrupt: The run was asked to stop (Ctrl-C, SIGTERM); its state is saved.
    """
    groups = parameter_groups(job.model)
    average = MovingAverage(job.model, job.settings.ema) if job.settings.ema else None
    state = TrainingState(job.model, build_optimizers(groups, job.settings), average)
    state.resume(job.folder)
    stepper = Stepper(
        model=job.model,
        groups=groups,
        world=job.world,
        seed=job.seed,
        bfloat16=uses_bfloat16(job.settings, job.world.device),
        compiled=job.settings.compile,
    )
    shown = job.world.is_first
    with (
        StopRequests() as stop,
        History(job.folder / DVCLIVE if shown else None, state.rows) as history,
        progress(desc=job.name, total=job.settings.steps, initial=state.step, unit="step", disable=not shown) as bar,
    ):
        _Loop(job, state, stepper, history, bar, stop).run()
    return state


def uses_bfloat16(settings: TrainingSettings, device: torch.device) -> bool:
    """Whether the model runs under bfloat16 autocast: as set, by default on a GPU and not on a CPU."""
    return settings.precision == "bfloat16" or (settings.precision == "auto" and device.type == "cuda")


class _Loop:
    """The steps of a run."""

    def __init__(
        self,
        job: Job,
        state: TrainingState,
        stepper: Stepper,
        history: History,
        bar: tqdm,
        stop: StopRequests,
    ) -> None:
        self.job, self.state, self.stepper = job, state, stepper
        self.history, self.bar, self.stop = history, bar, stop
        self.saved_at = time.monotonic()

    def run(self) -> None:
        job, state = self.job, self.state
        if job.train is None:
            self.record({"step": 0, "num_samples": 0})
            return
        job.model.train()
        batches = job.train.batches(state.step, job.settings.steps)
        while state.step < job.settings.steps:
            started = time.monotonic()
            losses = self.stepper.gradients([next(batches) for _ in range(job.settings.accumulation)], state.step)
            values, asked_to_stop = self.agreed(losses)
            self.update(values)
            self.log()
            state.seconds += time.monotonic() - started
            self.save(now=asked_to_stop or state.step == job.settings.steps)
            if asked_to_stop:
                raise KeyboardInterrupt

    def agreed(self, losses: Losses) -> tuple[Row, bool]:
        """Means of the losses over all processes, and whether any of them was asked to stop."""
        names = sorted(losses)
        asked = torch.tensor(float(self.stop.requested), device=self.job.world.device)
        values = torch.stack([*(losses[name] for name in names), asked])
        self.job.world.mean_([values])
        *means, asked_frac = values.tolist()
        return dict(zip(names, means, strict=True)), asked_frac > 0

    def update(self, values: Row) -> None:
        """The optimizer step, and all that follows it."""
        job, state = self.job, self.state
        self.check_finite({name: value for name, value in values.items() if name in state.optimizers})
        rate = learning_rate(state.step, job.settings)
        norms = {}
        for name, optimizer in state.optimizers.items():
            norms[f"{name}/grad_norm"] = clipped_norm(self.stepper.groups[name], job.settings.grad_clip)
            for group in optimizer.param_groups:
                group["lr"] = rate
        self.check_finite(norms)
        for optimizer in state.optimizers.values():
            optimizer.step()
        if isinstance(job.model, Stepping):
            job.model.after_step()
        job.world.follow_first_(job.model)
        if state.average:
            state.average.update(state.step)
        state.step += 1
        state.averages.add({**values, **norms})
        loss = sum(values.get(name, 0.0) for name in state.optimizers)
        self.bar.set_postfix_str(f"loss {loss:.4g}", refresh=False)
        self.bar.update()

    def check_finite(self, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            if not math.isfinite(value):
                raise ValueError(
                    f"{self.job.name}: {name} is {value} at step {self.state.step + 1}; "
                    "a lower learning_rate or a longer warmup_steps may help"
                )

    def log(self) -> None:
        """A row of the history, where one is due."""
        settings, step = self.job.settings, self.state.step
        last = step == settings.steps
        validates = bool(settings.validate_every) and (step % settings.validate_every == 0 or last)
        if not (step % settings.log_every == 0 or validates or last):
            return
        row: Row = {
            "step": step,
            "num_samples": step * settings.batch_size,
            "learning_rate": learning_rate(step - 1, settings),
            **columns("train", self.state.averages.take()),
        }
        if validates and self.job.validation is not None:
            row |= columns("val", self.validation_losses(self.job.validation))
        self.record(row)

    def record(self, row: Row) -> None:
        self.state.rows.append(row)
        self.history.add(row)

    def save(self, *, now: bool) -> None:
        """Write the resume file, if it is time."""
        due = time.monotonic() - self.saved_at >= self.job.settings.checkpoint_every_sec
        if self.job.world.is_first and (now or due):
            self.state.save(self.job.folder)
            self.saved_at = time.monotonic()

    def validation_losses(self, loader: ValidationLoader) -> dict[str, float]:
        """Means over the validation samples.

        A contrastive loss is computed by every process; of other losses each process computes its share of the
        micro-batches, all of them as many, because a model may exchange data within its step.
        """
        contrastive = isinstance(self.job.model, Contrastive)
        size = loader.batch_size if contrastive else loader.part_size
        starts = range(0, len(loader.picks), size)
        world = World(self.job.world.device) if contrastive else self.job.world
        totals: dict[str, float] = {}
        weight = 0
        with self.as_evaluated():
            for turn in range(-(-len(starts) // world.size)):
                place = turn * world.size + world.rank
                start = starts[min(place, len(starts) - 1)]
                losses = self.stepper.losses(list(loader.parts(start, start + size)), start // loader.part_size)
                num_samples = min(size, len(loader.picks) - start) if place < len(starts) else 0
                weight += num_samples
                for name, value in losses.items():
                    totals[name] = totals.get(name, 0.0) + num_samples * float(value)
        names = sorted(totals)
        sums = torch.tensor([*(totals[name] for name in names), weight], dtype=torch.float64, device=world.device)
        world.mean_([sums])
        *values, count = sums.tolist()
        return {name: value / count for name, value in zip(names, values, strict=True)}

    @contextmanager
    def as_evaluated(self) -> Iterator[None]:
        """Inside, the model is in eval mode with averaged weights; afterwards all of it is as it was."""
        model = self.job.model
        buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
        with self.state.average.applied() if self.state.average else nullcontext():
            model.eval()
            yield
        model.train()
        with torch.no_grad():
            for buffer, saved in buffers:
                buffer.copy_(saved)
