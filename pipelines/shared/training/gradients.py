"""Gradients of one step, from micro-batches and processes as if from the whole batch.

A loss that is a mean over samples is averaged over micro-batches and processes. A contrastive loss couples all samples:
its gradient is computed as in GradCache (Gao et al. 2021, arXiv:2101.06983): embed everything without a graph, take the
gradient of the loss with respect to the embeddings of the whole batch, then embed each micro-batch again, with the same
random numbers, and pass that gradient on.

Differs from the paper: the whole loss is computed by every process, and gathering needs no gradient of its own.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from models import Contrastive
from pipelines.shared.seeds import derive_seed
from pipelines.shared.training.distributed import World
from pipelines.shared.training.optim import MAIN

Losses = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Stepper:
    """Runs a model on micro-batches.

    Attributes:
        model: The model, on its device.
        groups: Its trained parameters by optimizer group.
        world: This process among all.
        seed: Seed of the run.
        bfloat16: Whether the model runs under autocast.
        compiled: Whether through `torch.compile`.
    """

    model: Any
    groups: Mapping[str, Sequence[nn.Parameter]]
    world: World
    seed: int
    bfloat16: bool = False
    compiled: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.model, Contrastive) and set(self.groups) != {MAIN}:
            raise ValueError(f"a contrastive model has one optimizer group, {MAIN}, not {sorted(self.groups)}")

    def gradients(self, batches: Sequence[Mapping[str, Any]], step: int) -> Losses:
        """Leaves the gradient of the whole batch in every parameter's `grad`.

        Args:
            batches: This process's micro-batches, in order, all of one size.
            step: The step, counted from 0; decides all random numbers.

        Returns:
            Losses and terms, means over the micro-batches of this process.
        """
        for parameters in self.groups.values():
            for parameter in parameters:
                parameter.grad = None
        compute = self._contrastive if isinstance(self.model, Contrastive) else self._plain
        losses = compute(batches, step)
        gradients = (parameter.grad for parameters in self.groups.values() for parameter in parameters)
        self.world.mean_(gradient for gradient in gradients if gradient is not None)
        return losses

    @torch.no_grad()
    def losses(self, batches: Sequence[Mapping[str, Any]], first_part: int) -> Losses:
        """Losses without gradients, for validation; the contrastive one of all batches together.

        Args:
            batches: Micro-batches.
            first_part: Number of the first one; decides the random numbers.
        """
        parts = []
        for part, batch in enumerate(batches, start=first_part):
            with self._randomness("validation", part) as generator, self._autocast():
                if isinstance(self.model, Contrastive):
                    parts.append(self.model.embed(batch, generator))
                else:
                    parts.append(self.model.training_step(batch, generator))
        if isinstance(self.model, Contrastive):
            return _detached(self.model.contrastive_loss(_joined(parts)))
        return _mean([_detached(part) for part in parts])

    def _plain(self, batches: Sequence[Mapping[str, Any]], step: int) -> Losses:
        parts = []
        for part, batch in enumerate(batches, start=self.world.rank * len(batches)):
            with self._randomness(step, part) as generator, self._autocast():
                losses = self._training_step(batch, generator)
            self._backward(losses, 1 / len(batches))
            parts.append(_detached(losses))
        return _mean(parts)

    def _backward(self, losses: Losses, scale: float) -> None:
        """Each group's loss reaches the group's own parameters only."""
        trained = [name for name in losses if "/" not in name]
        assert set(trained) <= set(self.groups), f"losses {trained} of groups {sorted(self.groups)}"
        for name in trained:
            last = name == trained[-1]
            torch.autograd.backward(losses[name] * scale, inputs=list(self.groups[name]), retain_graph=not last)

    def _contrastive(self, batches: Sequence[Mapping[str, Any]], step: int) -> Losses:
        first = self.world.rank * len(batches)
        if len(batches) == 1 and self.world.size == 1:
            with self._randomness(step, 0) as generator, self._autocast():
                embeddings = self._embed(batches[0], generator)
            losses = self.model.contrastive_loss(_joined([embeddings]))
            self._backward(losses, 1.0)
            return _detached(losses)
        parts = []
        for part, batch in enumerate(batches, start=first):
            with torch.no_grad(), self._randomness(step, part) as generator, self._autocast():
                parts.append(self._embed(batch, generator))
        whole = {name: self.world.gather(value) for name, value in _joined(parts).items()}
        coupled = {name: value.requires_grad_() for name, value in whole.items() if value.is_floating_point()}
        losses = self.model.contrastive_loss(whole)
        torch.autograd.backward(losses[MAIN], inputs=[*coupled.values(), *self.groups[MAIN]])
        for part, batch in enumerate(batches, start=first):
            with self._randomness(step, part) as generator, self._autocast():
                embeddings = self._embed(batch, generator)
            self._pass_on(embeddings, coupled, part)
        return _detached(losses)

    def _pass_on(self, embeddings: Mapping[str, Tensor], coupled: Mapping[str, Tensor], part: int) -> None:
        """Sends the loss's gradient of a micro-batch's embeddings on to the parameters.

        The sum over processes is wanted, and their mean is taken later: hence the factor.
        """
        surrogate = torch.zeros((), device=self.world.device)
        for name, leaf in coupled.items():
            value = _at_least_float32(embeddings[name])
            if leaf.grad is not None and value.requires_grad:
                rows = slice(part * len(value), (part + 1) * len(value))
                surrogate = surrogate + (value * leaf.grad[rows]).sum()
        torch.autograd.backward(surrogate * self.world.size, inputs=list(self.groups[MAIN]))

    @contextmanager
    def _randomness(self, when: int | str, part: int) -> Iterator[torch.Generator]:
        """A generator, and PyTorch's global ones, that depend on the step and the place in the batch alone."""
        seed = derive_seed(self.seed, "step", when, part)
        torch.manual_seed(seed)
        yield torch.Generator(self.world.device).manual_seed(seed)

    def _autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.world.device.type, dtype=torch.bfloat16, enabled=self.bfloat16)

    @cached_property
    def _training_step(self) -> Callable[..., Losses]:
        return torch.compile(self.model.training_step) if self.compiled else self.model.training_step

    @cached_property
    def _embed(self) -> Callable[..., Losses]:
        return torch.compile(self.model.embed) if self.compiled else self.model.embed


def _joined(parts: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Embeddings of several micro-batches as those of one, not under autocast any more."""
    return {name: _at_least_float32(torch.cat([part[name] for part in parts])) for name in parts[0]}


def _at_least_float32(value: Tensor) -> Tensor:
    return value.to(torch.promote_types(value.dtype, torch.float32)) if value.is_floating_point() else value


def _detached(losses: Mapping[str, Tensor]) -> Losses:
    return {name: value.detach().float() for name, value in losses.items()}


def _mean(parts: Sequence[Losses]) -> Losses:
    return {name: torch.stack([part[name] for part in parts]).mean() for name in parts[0]}
