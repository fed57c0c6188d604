"""The base of every metric: evidence collected row by row in any number of batches and processes, scored once.

torchmetrics' own list states cannot be used as they are: on a rank that saw no batch its `cat` reduction gathers a
float32 vector where the other ranks gather matrices or integers, and the processes hang or mix up bytes. `gather_rows`
takes its place.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
import torchmetrics
from torch import Tensor

from metrics.shared.estimates import Estimate

GATHERED_DTYPES = (torch.float32, torch.float64, torch.int64)


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """Everything that a metric says about the evidence.

    Attributes:
        estimates: Results by key.
        per_sample: Arrays of values per unit by key, for paired comparisons.
        protocol: What two scores must share to be compared.
    """

    estimates: dict[str, Estimate]
    per_sample: dict[str, np.ndarray]
    protocol: dict[str, str | int | float]


class EvidenceMetric(torchmetrics.Metric):
    """Keeps rows of evidence; a subclass writes `update` (append rows) and `score` (all rows to a `Score`).

    Rows have an order, which captions refer to (`text_owner`) and which groups are dealt over: the order of the
    updates, and over processes the order of ranks. A result is equal for any number of batches and processes as long as
    each rank was given one consecutive block of the rows, an empty one included.

    Attributes:
        inputs: Names of the evidence that `update` takes as keyword arguments.
    """

    inputs: tuple[str, ...]
    full_state_update = False

    def __init__(self, *row_names: str) -> None:
        super().__init__(dist_sync_fn=gather_rows)
        for name in row_names:
            self.add_state(name, default=[], dist_reduce_fx="cat")
        self._score: Score | None = None

    @abstractmethod
    def score(self) -> Score:
        """Scores all rows of all processes; called by `compute`."""

    def compute(self) -> dict[str, Estimate]:
        """Every result with its interval and sample count.

        Raises:
            ValueError: There is too little evidence.
        """
        self._score = self.score()
        return self._score.estimates

    def per_sample(self) -> dict[str, np.ndarray]:
        """Values per unit, [number of units] each."""
        return self._computed_score().per_sample

    def protocol(self) -> dict[str, str | int | float]:
        """What two scores must share to be compared."""
        return self._computed_score().protocol

    def append(self, name: str, rows: Tensor, dtype: torch.dtype) -> None:
        """Adds a batch of finite rows to a state."""
        rows = rows.detach().to(self.device, dtype)
        ends = torch.stack(torch.aminmax(rows)) if rows.numel() else rows  # one reading, nothing written
        assert bool(torch.isfinite(ends).all()), f"{type(self).__module__}: {name} must be finite"
        cast(list[Tensor], getattr(self, name)).append(rows)

    def rows(self, name: str) -> Tensor:
        """All rows of a state, not to be changed in place.

        Raises:
            ValueError: There are none.
        """
        state: Tensor | list[Tensor] = getattr(self, name)
        parts = [state] if isinstance(state, Tensor) else state
        if not sum(len(part) for part in parts):
            raise ValueError(f"{type(self).__module__}: no {name} were given, a score needs some")
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _computed_score(self) -> Score:
        self.compute()  # torchmetrics returns what it has cached, unless there was an update since
        assert self._score is not None, "compute keeps the score"
        return self._score


def unit_rows(rows: Tensor) -> Tensor:
    """Rows of length 1 in float64, so that a dot product is the cosine."""
    lengths = torch.linalg.vector_norm(rows.double(), dim=-1, keepdim=True)
    assert bool((lengths > 0).all()), "an embedding of length 0 has no direction"
    return rows / lengths


def gather_rows(rows: Tensor, group: Any = None) -> list[Tensor]:
    """The rows of every rank in rank order; a rank without rows gets the others' dtype and shape, [0, ...]."""
    import torch.distributed as dist

    world_size = dist.get_world_size(group)
    header = torch.tensor([GATHERED_DTYPES.index(rows.dtype), len(rows), *rows.shape[1:], *[0] * (2 - rows.ndim)])
    header = header.to(rows.device)
    headers = [torch.zeros_like(header) for _ in range(world_size)]
    dist.all_gather(headers, header, group=group)
    sizes: list[Sequence[int]] = [each.tolist() for each in headers]
    dtype_index, max_rows, width = max(sizes, key=lambda size: size[1])
    padded = torch.zeros(max_rows, max(width, 1), dtype=GATHERED_DTYPES[dtype_index], device=rows.device)
    if len(rows):
        padded[: len(rows)] = rows.reshape(len(rows), -1)
    gathered = [torch.empty_like(padded) for _ in range(world_size)]
    dist.all_gather(gathered, padded, group=group)
    shape = (width,) if width else ()
    return [part[: size[1]].reshape(-1, *shape) for part, size in zip(gathered, sizes, strict=True)]
