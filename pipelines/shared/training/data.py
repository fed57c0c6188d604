"""The loader on packed shards: batches by step, put together from columns by this process or by workers.

Nothing here depends on the number of workers.
"""

import multiprocessing
import signal
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from pipelines.shared import decode, pixels
from pipelines.shared.features import FeatureStore
from pipelines.shared.files import digest_file
from pipelines.shared.pixels import to_float
from pipelines.shared.processes import end_with_parent
from pipelines.shared.progress import progress
from pipelines.shared.training.columns import Column, MediaShape, StoredRows
from pipelines.shared.training.distributed import World
from pipelines.shared.training.order import DataOrder, Pick
from pipelines.shared.training.split import Split

MEDIA_KEYS: tuple[str, ...] = ("image", "video")
DECODE_BATCH = 64


class BatchRows(Dataset[Any]):
    """All columns; asked for a list of picks, it gives their batch."""

    def __init__(self, columns: Mapping[str, Column]) -> None:
        """Columns by key of the batch."""
        self.columns = columns

    def __getitems__(self, picks: Sequence[Pick]) -> dict[str, Any]:
        """The batch of these picks, and `flip`, bool [B]."""
        batch = {name: column(picks) for name, column in self.columns.items()}
        return {**batch, "flip": torch.tensor([pick.flip for pick in picks])}


def load(
    rows: BatchRows, batches: Iterable[Sequence[Pick]], num_workers: int, *, pin_memory: bool = False
) -> Iterator[dict[str, Any]]:
    """Batches in the given order."""
    loader = DataLoader(
        rows,
        batch_sampler=batches,  # type: ignore[arg-type]
        num_workers=num_workers,
        collate_fn=_as_it_is,
        pin_memory=pin_memory,
        worker_init_fn=_leave_signals_to_the_parent,
    )
    return iter(loader)


@dataclass(frozen=True, slots=True)
class ToModel:
    """From a loaded batch to what the model is handed.

    Attributes:
        shape: The model's pixels.
        device: The model's device.
    """

    shape: MediaShape
    device: torch.device

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Pixels as float32 in [-1, 1], mirrored where picked; all tensors on the device."""
        moved = {
            name: value.to(self.device, non_blocking=True) if isinstance(value, Tensor) else value
            for name, value in batch.items()
            if name != "flip"
        }
        if "video" in moved:
            moved["video"], moved["frame_mask"] = self._unpacked(moved["video"])
        for name in MEDIA_KEYS:
            if name in moved:
                moved[name] = to_float(_mirrored(moved[name], batch["flip"]))
        return moved

    def _unpacked(self, packed: Tensor) -> tuple[Tensor, Tensor]:
        frame = (3, self.shape.side_px, self.shape.side_px)
        return packed[..., :-1].unflatten(2, frame), packed[..., -1].bool()


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainLoader:
    """Batches to train on.

    Attributes:
        rows: The columns.
        order: Which samples a step sees.
        to_model: Makes the model's input.
        world: This process among all.
        accumulation: Micro-batches per step and process.
        num_workers: Processes that put batches together; 0: this one.
    """

    rows: BatchRows
    order: DataOrder
    to_model: ToModel
    world: World
    accumulation: int
    num_workers: int

    def batches(self, first_step: int, stop_step: int) -> Iterator[dict[str, Any]]:
        """This process's micro-batches of the steps in [first_step, stop_step), one after another."""
        pin_memory = self.world.device.type == "cuda"
        return map(
            self.to_model,
            load(self.rows, self._picks(first_step, stop_step), self.num_workers, pin_memory=pin_memory),
        )

    def _picks(self, first_step: int, stop_step: int) -> Iterator[list[Pick]]:
        size = self.order.batch_size // (self.world.size * self.accumulation)
        first_part = self.world.rank * self.accumulation
        for step in range(first_step, stop_step):
            for part in range(first_part, first_part + self.accumulation):
                yield self.order.batch(step, part * size, (part + 1) * size)


@dataclass(frozen=True, kw_only=True, slots=True)
class ValidationLoader:
    """What a validation loss is computed on: every sample once, always the same.

    Attributes:
        rows: The columns.
        picks: The samples.
        to_model: Makes the model's input.
        batch_size: Samples whose contrastive loss is computed together.
        part_size: Samples in a micro-batch.
    """

    rows: BatchRows
    picks: Sequence[Pick]
    to_model: ToModel
    batch_size: int
    part_size: int

    def parts(self, start: int, stop: int) -> Iterator[dict[str, Any]]:
        """Micro-batches of the samples in [start, stop)."""
        batches = slices(self.picks[start : min(stop, len(self.picks))], self.part_size)
        return map(self.to_model, load(self.rows, batches, 0))


def media_column(split: Split, shape: MediaShape, store: FeatureStore, cache_bytes: int, num_workers: int) -> Column:
    """Pixels of a split: from the store if they fit in `cache_bytes`, else decoded when asked for."""
    decoded = shape.decoded(split)
    if not split.keys or shape.num_bytes(split) > cache_bytes:
        return decoded

    def decode_all() -> Tensor:
        batches = slices(all_rows(split), DECODE_BATCH)
        bar = progress(total=len(split.keys), desc=f"decode {split.name}", unit="sample", leave=False)
        parts = []
        for batch in load(BatchRows({"pixels": decoded}), batches, num_workers):
            parts.append(batch["pixels"])
            bar.update(len(batch["pixels"]))
        return torch.cat(parts)

    how: tuple[str | int, ...] = (shape.media, shape.side_px, shape.num_frames)
    code = tuple(digest_file(Path(str(module.__file__))) for module in (decode, pixels))
    decoders = tuple(version(package) for package in ("pillow", "av"))
    identity = ("pixels", split.media_digest, *how, *code, *decoders)
    return StoredRows(store.get(identity, decode_all))


def all_rows(split: Split) -> list[Pick]:
    """Every sample of a split, without a caption."""
    return [Pick(row, -1, False) for row in range(len(split.keys))]


def slices(picks: Sequence[Pick], size: int) -> list[Sequence[Pick]]:
    """Consecutive batches; the last one may be smaller."""
    return [picks[start : start + size] for start in range(0, len(picks), size)]


def _mirrored(pixels: Tensor, flip: Tensor) -> Tensor:
    """Rows of [B, ..., W] turned over where `flip`, bool [B] on the CPU, says so."""
    if not flip.any():
        return pixels
    rows = flip.reshape(-1, *[1] * (pixels.ndim - 1)).to(pixels.device)
    return torch.where(rows, pixels.flip(-1), pixels)


def _leave_signals_to_the_parent(worker: int) -> None:
    """A terminal sends Ctrl-C to workers too; they go on, and end when this process lets them, or ends itself."""
    parent = multiprocessing.parent_process()
    end_with_parent(parent.pid if parent else None)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the loader itself ends them by it


def _as_it_is(batch: Any) -> Any:
    return batch
