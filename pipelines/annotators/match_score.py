"""Match score: the probability that a caption describes its picture, by the matching head of a BLIP run of ours.

Source: Li et al. 2022 (BLIP), arXiv:2201.12086, section 3.2; as a filter Data-Juicer (Chen et al. 2023,
arXiv:2309.02033). Differs from `recaption`, which scores a pack: here a source's samples are scored before they are
packed, so the run was trained earlier, on other data or by an earlier build. No stage links the two: the run's sha256
in the settings is what binds them. Of a clip the middle frame is scored.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.annotators import AnnotatorInput
from pipelines.shared.clip_models import SHA256, check_model_settings
from pipelines.shared.devices import choose_device, make_deterministic
from pipelines.shared.loading import LoadedOnce
from pipelines.shared.runs import LoadedRun, load_run, require_capabilities, run_digest, run_files


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Settings.

    Attributes:
        run: Key of the run, a folder of `runs/`, whose model has `match`.
        sha256: Digest of its weights: `model_sha256` in its `config.json`.
        column: Name of the column, so that several runs can stand side by side.
        batch_size: Pictures at a time.
        device: `auto`, `cpu` or `cuda`.
    """

    run: str
    sha256: str
    column: str = "match_score"
    batch_size: int = 32
    device: str = "cpu"

    def __post_init__(self) -> None:
        if not SHA256.fullmatch(self.sha256):
            raise ValueError(f"sha256 must be 64 lower-case hex digits, got {self.sha256!r}")
        check_model_settings(self.column, self.batch_size, self.device)


class Annotator:
    """Column: `match_score` (or as named), per caption, in [0, 1]."""

    def __init__(self, config: Config) -> None:
        require_capabilities(config.run, {"match"}, "match_score")
        if (found := run_digest(config.run)) != config.sha256:
            raise ValueError(f"run: {config.run} has sha256 {found}, the settings say {config.sha256}")
        self.config = config
        self.columns = {config.column: "list<float64>"}
        self.batch_size = config.batch_size

    def files(self) -> tuple[Path, ...]:
        """The run's."""
        return run_files(self.config.run)

    def load(self) -> None:
        """Load the model."""
        loaded(self.config.run, self.config.sha256, self.config.device)

    def annotate(self, samples: Sequence[AnnotatorInput]) -> list[dict[str, Any]]:
        """Scores of each sample's captions."""
        import torch

        from pipelines.shared.pixels import square, to_float

        texts = [caption.text for sample in samples for caption in sample.captions]
        if not texts:
            return [{self.config.column: []} for _ in samples]
        owners = [row for row, sample in enumerate(samples) for _ in sample.captions]
        run = loaded(self.config.run, self.config.sha256, self.config.device)
        pixels = [torch.from_numpy(square(sample.image, run.model.image_px)).permute(2, 0, 1) for sample in samples]
        with torch.no_grad():
            image = to_float(torch.stack(pixels)).to(run.device)
            match = run.model.match(image, texts, torch.tensor(owners))
        scores: list[list[float]] = [[] for _ in samples]
        for owner, value in zip(owners, match.tolist(), strict=True):
            scores[owner].append(round(value, 6))
        return [{self.config.column: own} for own in scores]


@LoadedOnce
def loaded(key: str, sha256: str, device: str) -> LoadedRun:
    """The run's model, on one thread of the CPU or on the GPU; once per process.

    Raises:
        ValueError: A file is not the one that was trained, or the device is not there.
    """
    make_deterministic(choose_device(device, f"run {key}"), num_threads=1)
    run = load_run(key, device)
    assert run.sha256 == sha256, f"run {key} has become another one while it was read"
    return run
