"""The resume file: all state of a run between two steps, written atomically, read without running code.

Random numbers need no state, they are derived from the seed and the step; the data order neither.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pipelines.shared.files import atomic_path
from pipelines.shared.training.history import Averages, Row
from pipelines.shared.training.optim import MovingAverage

RESUME_FILE = "resume.pt"
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
        with atomic_path(folder / RESUME_FILE) as temporary, temporary.open("wb") as handle:
            torch.save(document, handle)  # given a path, it would not say that a disk is full

    def resume(self, folder: Path) -> None:
        """Take over the resume file of a folder, if there is one.

        Tensors are read to the CPU and copied from there; AdamW's step counts stay there.
        """
        path = folder / RESUME_FILE
        if not path.exists():
            return
        document: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        self.model.load_state_dict(document["model"], strict=True)
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(document["optimizers"][name])
        if self.average:
            self.average.load(document["average"])
        self.averages = Averages(document["sums"], document["count"])
        self.rows = document["rows"]
        self.step, self.seconds = document["step"], document["seconds"]
        logger.info("resuming after step %d", self.step)
