"""Settings of an evaluation, and of a reference row."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipelines.shared.records import ORIGINS

REFERENCES: tuple[str, ...] = ("real", "shuffled", "blurred", "compressed")
SLOT = "{}"


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoringEntry:
    """What an entry of `evaluations` and one of `references` have in common.

    Attributes:
        pack: The pack whose test split is scored on.
        metrics: Keys of the section `metrics`.
        judge: The run that scores (picture, caption) pairs and is never the one that made them.
        origins: Which captions of a test sample count.
        num_generated: Pictures that a generator makes, from the test captions in turn.
        num_shown: Samples in the gallery of the report.
        batch_size: Pictures at a time; changes nothing but memory and speed.
        classes: Of zero-shot classification, by name: the regular expression that a caption of a sample of the class
            matches. A sample that matches several or none has no class.
        class_prompts: Texts with `{}` in place of the class's name, whose embeddings are averaged.
    """

    pack: str
    metrics: tuple[str, ...]
    judge: str
    origins: tuple[str, ...] = ("human",)
    num_generated: int = 256
    num_shown: int = 16
    batch_size: int = 32
    classes: Mapping[str, str] = field(default_factory=dict)
    class_prompts: tuple[str, ...] = (SLOT,)

    def __post_init__(self) -> None:
        if unknown := set(self.origins) - set(ORIGINS):
            raise ValueError(f"origins must be among {', '.join(ORIGINS)}, got {sorted(unknown)}")
        if not self.metrics:
            raise ValueError("metrics must name at least one entry of the section metrics")
        for name in ("num_generated", "num_shown", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name, pattern in self.classes.items():
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"classes.{name} must be a regular expression, got {pattern!r}: {error}") from error
        if wrong := [prompt for prompt in self.class_prompts if SLOT not in prompt]:
            raise ValueError(f"class_prompts must have {SLOT} in each, got {wrong}")


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationEntry(ScoringEntry):
    """An entry of `evaluations`.

    Attributes:
        model: The run that is scored.
        decoding: Passed to `caption`.
        sampling: Passed to `generate`.
        likelihood: Passed to `log_likelihood`.
    """

    model: str
    decoding: Mapping[str, Any] = field(default_factory=dict)
    sampling: Mapping[str, Any] = field(default_factory=dict)
    likelihood: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class ReferenceEntry(ScoringEntry):
    """An entry of `references`: what is scored in place of a model, so that a score has a scale.

    Attributes:
        kind: `real`: pictures of the training split in place of generated ones, and each test sample's own caption;
            `shuffled`: the captions of other test samples, and the judge's embeddings of captions and pictures that do
            not belong together; `blurred` and `compressed`: pictures of the training split, and the test pictures in
            place of reconstructions, blurred or heavily compressed.
        image_px: Side of the pictures.
        sigma_px: Of the blur's Gaussian.
        jpeg_quality: Of the compression, from 1 to 95.
    """

    kind: str
    image_px: int = 64
    sigma_px: float = 2.0
    jpeg_quality: int = 10

    def __post_init__(self) -> None:
        ScoringEntry.__post_init__(self)
        if self.kind not in REFERENCES:
            raise ValueError(f"kind must be one of {', '.join(REFERENCES)}, got {self.kind!r}")
        if self.image_px < 1:
            raise ValueError(f"image_px must be at least 1, got {self.image_px}")
        if self.sigma_px <= 0:
            raise ValueError(f"sigma_px must be above 0, got {self.sigma_px}")
        if not 1 <= self.jpeg_quality <= 95:
            raise ValueError(f"jpeg_quality must be in [1, 95], got {self.jpeg_quality}")
