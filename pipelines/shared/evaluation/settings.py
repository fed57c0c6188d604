"""Settings of an evaluation."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipelines.shared.records import ORIGINS


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationEntry:
    """An entry of `evaluations`.

    Attributes:
        model: The run that is scored.
        pack: The pack whose test split it is scored on.
        metrics: Keys of the section `metrics`.
        judge: The run that scores (picture, caption) pairs and is never the one that made them.
        origins: Which captions of a test sample count.
        num_generated: Pictures that a generator makes, from the test captions in turn.
        num_shown: Samples in the gallery of the report.
        batch_size: Pictures at a time; changes nothing but memory and speed.
        decoding: Passed to `caption`.
        sampling: Passed to `generate`.
    """

    model: str
    pack: str
    metrics: tuple[str, ...]
    judge: str
    origins: tuple[str, ...] = ("human",)
    num_generated: int = 256
    num_shown: int = 16
    batch_size: int = 32
    decoding: Mapping[str, Any] = field(default_factory=dict)
    sampling: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if unknown := set(self.origins) - set(ORIGINS):
            raise ValueError(f"origins must be among {', '.join(ORIGINS)}, got {sorted(unknown)}")
        if not self.metrics:
            raise ValueError("metrics must name at least one entry of the section metrics")
        for name in ("num_generated", "num_shown", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
