"""Random tensors that come from explicit generators, whatever device the model is on.

A generator draws on its own device and the result is moved, so a CPU generator gives the same numbers to a model on a
GPU.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor


def batch_normal(shape: Sequence[int], generator: torch.Generator, device: torch.device) -> Tensor:
    """Standard normal float32 tensor of `shape`; one generator for the whole batch (training)."""
    return torch.randn(tuple(shape), generator=generator, device=generator.device).to(device)


def sample_normal(shape: Sequence[int], generators: Sequence[torch.Generator], device: torch.device) -> Tensor:
    """Standard normal float32 tensor `[len(generators), *shape]`; row i comes from generator i alone (sampling)."""
    rows = [torch.randn(tuple(shape), generator=g, device=g.device).to(device) for g in generators]
    return torch.stack(rows)


@contextmanager
def seeded_by(generator: torch.Generator, device: torch.device) -> Iterator[None]:
    """Inside, PyTorch's global generators are seeded by one draw from `generator`; afterwards they are as before.

    `nn.Dropout` takes no generator. With this it is still a function of the generator that a training step was given.
    """
    seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
