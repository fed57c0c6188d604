"""Optimizers by group, the learning rate as a function of the step, and the moving average of the weights.

AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101) without weight decay for parameters of fewer than two dimensions.
Moving average as in latent diffusion (arXiv:2112.10752): decay min(ema, (1 + t) / (10 + t)) after t earlier updates.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from models import Grouped
from pipelines.shared.training.settings import TrainingSettings

MAIN = "main"


def parameter_groups(model: nn.Module) -> dict[str, list[nn.Parameter]]:
    """Trained parameters by optimizer group.

    Raises:
        ValueError: A group is empty: nothing is left to train.
    """
    groups = model.parameter_groups() if isinstance(model, Grouped) else {MAIN: list(model.parameters())}
    trained = {name: [parameter for parameter in group if parameter.requires_grad] for name, group in groups.items()}
    for name, group in trained.items():
        if not group:
            raise ValueError(f"optimizer group {name} has no parameter that is trained")
    return trained


def build_optimizers(
    groups: Mapping[str, list[nn.Parameter]], settings: TrainingSettings
) -> dict[str, torch.optim.AdamW]:
    """One AdamW per group of parameters."""
    optimizers = {}
    for name, parameters in groups.items():
        matrices = [parameter for parameter in parameters if parameter.ndim >= 2]
        others = [parameter for parameter in parameters if parameter.ndim < 2]
        parts = [
            {"params": matrices, "weight_decay": settings.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        optimizers[name] = torch.optim.AdamW(
            [part for part in parts if part["params"]],
            lr=settings.learning_rate,
            betas=settings.betas,
            eps=settings.epsilon,
        )
    return optimizers


def learning_rate(step: int, settings: TrainingSettings) -> float:
    """The learning rate of a step, counted from 0: linear warm-up, then cosine or constant."""
    if step < settings.warmup_steps:
        return settings.learning_rate * (step + 1) / settings.warmup_steps
    if settings.schedule == "constant":
        return settings.learning_rate
    done = (step - settings.warmup_steps) / max(1, settings.steps - settings.warmup_steps)
    final = settings.final_learning_rate_frac
    return settings.learning_rate * (final + (1 - final) * 0.5 * (1 + math.cos(math.pi * done)))


def clipped_norm(parameters: Sequence[nn.Parameter], limit: float) -> float:
    """Scales gradients down to a norm of at most `limit` (0: no limit); returns the norm that they had."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    if limit:
        torch.nn.utils.clip_grads_with_norm_(parameters, limit, norm)
    return float(norm)


class MovingAverage:
    """Exponential moving average of the trained parameters."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        """Starts from the parameters as they are."""
        self.decay = decay
        self.parameters = {name: value for name, value in model.named_parameters() if value.requires_grad}
        self.average = {name: value.detach().clone() for name, value in self.parameters.items()}

    @torch.no_grad()
    def update(self, num_updates: int) -> None:
        """Moves the average towards the parameters.

        Args:
            num_updates: Earlier updates.
        """
        decay = min(self.decay, (1 + num_updates) / (10 + num_updates))
        current = [self.parameters[name].detach() for name in self.average]
        torch._foreach_lerp_(list(self.average.values()), current, 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Inside, the model has the averaged parameters; no copy is made."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def load(self, average: Mapping[str, Tensor]) -> None:
        """Takes over a saved average."""
        for name, value in average.items():
            self.average[name].copy_(value)

    def _swap(self) -> None:
        for name, parameter in self.parameters.items():
            parameter.data, self.average[name] = self.average[name], parameter.data
