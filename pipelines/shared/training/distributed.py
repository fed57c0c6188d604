"""Processes that train one model together: `torchrun`, or one process alone.

The batch of a step is defined first and then cut: process r of W computes rows r * B / W to (r + 1) * B / W. Gradients
are averaged in flat buckets after the backward pass; buffers follow process 0, as in DDP. Process 0 alone writes files.

`DistributedDataParallel` itself is not used: it wraps `forward`, and our models are driven by other methods, with
several losses and twice per step in a contrastive one. What is lost is its overlap of sending and computing.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn

BUCKET_ELEMENTS = 1 << 24
TIMEOUT = timedelta(hours=6)
"""Long enough for process 0 to compute the frozen features of a large pack while the others wait."""


@dataclass(frozen=True, slots=True)
class World:
    """This process among all.

    Attributes:
        device: Where it computes.
        rank: Its number.
        size: How many there are.
    """

    device: torch.device
    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def mean_(self, tensors: Iterable[Tensor]) -> None:
        """Replaces tensors by their means over the processes."""
        if self.size > 1:
            for bucket in buckets(tensors):
                flat = torch.cat([tensor.reshape(-1) for tensor in bucket])
                dist.all_reduce(flat)
                _scatter(flat.div_(self.size), bucket)

    @torch.no_grad()
    def follow_first_(self, model: nn.Module) -> None:
        """Gives the buffers of process 0 to all."""
        if self.size > 1:
            for bucket in buckets(model.buffers()):
                flat = torch.cat([tensor.reshape(-1) for tensor in bucket])
                dist.broadcast(flat, 0)
                _scatter(flat, bucket)

    def gather(self, tensor: Tensor) -> Tensor:
        """The rows [b, ...] of all processes, [size * b, ...], in order of rank; without gradient."""
        if self.size == 1:
            return tensor
        parts = [torch.empty_like(tensor) for _ in range(self.size)]
        dist.all_gather(parts, tensor.contiguous())
        return torch.cat(parts)

    def from_first(self, text: str) -> str:
        """A text of process 0."""
        if self.size == 1:
            return text
        texts = [text]
        dist.broadcast_object_list(texts, 0)
        return texts[0]

    def wait(self) -> None:
        """Returns when all processes are here."""
        if self.size > 1:
            dist.barrier()

    @contextmanager
    def first_goes_ahead(self) -> Iterator[None]:
        """Process 0 runs the block, then the others: what it stores they find."""
        if not self.is_first:
            self.wait()
        yield
        if self.is_first:
            self.wait()


def num_processes() -> int:
    """How many processes `torchrun` started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@contextmanager
def joined(device: torch.device) -> Iterator[World]:
    """The world of this process."""
    if num_processes() == 1:
        yield World(device)
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT)
    try:
        yield World(device, dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()


def buckets(tensors: Iterable[Tensor]) -> list[list[Tensor]]:
    """Tensors of one type together, at most `BUCKET_ELEMENTS` elements or one tensor in a bucket."""
    full: list[list[Tensor]] = []
    filling: dict[torch.dtype, list[Tensor]] = {}
    for tensor in tensors:
        bucket = filling.setdefault(tensor.dtype, [])
        if bucket and sum(other.numel() for other in bucket) + tensor.numel() > BUCKET_ELEMENTS:
            full.append(bucket)
            bucket = filling[tensor.dtype] = []
        bucket.append(tensor)
    return full + list(filling.values())


def _scatter(flat: Tensor, tensors: Sequence[Tensor]) -> None:
    start = 0
    for tensor in tensors:
        tensor.copy_(flat[start : start + tensor.numel()].view_as(tensor))
        start += tensor.numel()
