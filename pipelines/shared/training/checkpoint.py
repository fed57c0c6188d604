"""The resume file: all state of a run between two steps, written atomically, read without running code.

It holds a digest of its values: what PyTorch reads of a damaged file may be other numbers, without a word. Random
numbers need no state, they are derived from the seed and the step; the data order neither.
"""

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from models.shared.weights import unreadable
from pipelines.shared.files import atomic_path
from pipelines.shared.training.history import Averages, Row
from pipelines.shared.training.optim import MovingAverage

RESUME_FILE = "resume.pt"
SEAL = "sha256"
logger = logging.getLogger("vignette.train")


class TrainingState:
    """What changes while a model is trained.

    Attributes:
        step: Steps done.
        model: The model.
        optimizers: Optimizers by group.
        average: Moving average of the weights, if any.
        averages: Losses since the last row of the history.
        rows: Rows of the history.
        seconds: Time spent on these steps; nothing depends on it.
    """

    def __init__(
        self, model: nn.Module, optimizers: Mapping[str, torch.optim.Optimizer], average: MovingAverage | None
    ) -> None:
        """The state before the first step."""
        self.step = 0
        self.model = model
        self.optimizers = optimizers
        self.average = average
        self.averages = Averages()
        self.rows: list[Row] = []
        self.seconds = 0.0

    def save(self, folder: Path) -> None:
        """Write the resume file; a kill at any time leaves the old or the new one."""
        document = {
            "step": self.step,
            "seconds": self.seconds,
            "model": self.model.state_dict(),
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            "average": self.average.average if self.average else {},
            "sums": self.averages.sums,
            "count": self.averages.count,
            "rows": self.rows,
        }
        sealed = {**document, SEAL: state_digest(document)}
        with atomic_path(folder / RESUME_FILE) as temporary, temporary.open("wb") as handle:
            torch.save(sealed, handle)  # given a path, it would not say that a disk is full

    def resume(self, folder: Path) -> None:
        """Take over the resume file of a folder, if there is one.

        Tensors are read to the CPU and copied from there; AdamW's step counts stay there.

        Raises:
            ValueError: The file is damaged; says what to do.
        """
        path = folder / RESUME_FILE
        if not path.exists():
            return
        document = _read_state(path)
        self.model.load_state_dict(document["model"], strict=True)
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(document["optimizers"][name])
        if self.average:
            self.average.load(document["average"])
        self.averages = Averages(document["sums"], document["count"])
        self.rows = document["rows"]
        self.step, self.seconds = document["step"], document["seconds"]
        logger.info("resuming after step %d", self.step)


def _read_state(path: Path) -> dict[str, Any]:
    """What a resume file holds, once its digest was found to be the one that it holds."""
    try:
        document: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        is_whole = document.pop(SEAL) == state_digest(document)
    except unreadable() as error:
        is_whole, remark = False, f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
    else:
        remark = "its values are not those of its digest"
    if not is_whole:
        raise ValueError(f"{path} is damaged ({remark}): remove it, and the training starts again from its first step")
    return document


def state_digest(value: Any) -> str:
    """sha256 of a nested state: dicts, lists, tensors, numbers and texts."""
    hashed = hashlib.sha256()

    def add(part: Any) -> None:
        if isinstance(part, torch.Tensor):
            hashed.update(f"tensor {part.dtype} {tuple(part.shape)}\n".encode())
            hashed.update(part.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        elif isinstance(part, Mapping):
            hashed.update(f"mapping {len(part)}\n".encode())
            for name, item in part.items():
                hashed.update(f"{name!r}\n".encode())
                add(item)
        elif isinstance(part, list | tuple):
            hashed.update(f"list {len(part)}\n".encode())
            for item in part:
                add(item)
        else:
            hashed.update(f"{part!r}\n".encode())

    add(value)
    return hashed.hexdigest()
