"""Aesthetic score: what people would say of a picture on a scale from 1 to 10, by a head on CLIP's image embedding.

Source: Schuhmann et al. 2022 (LAION-5B), arXiv:2210.08402, section on LAION-Aesthetics: a regression from the
embedding, scaled to length 1, to a mean of ratings. Both published kinds of head are read: a linear one (`weight`,
`bias`) and a chain of linear layers with dropout between them and no non-linearity (`layers.<n>.weight`, ...). The head
must have been trained on embeddings of the CLIP that is named; of that no file tells. A clip has the mean of three
evenly spaced frames, as in Data-Juicer (Chen et al. 2023, arXiv:2309.02033). Nothing is downloaded.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.annotators import AnnotatorInput
from pipelines.shared.clip_models import (
    SHA256,
    check_model_settings,
    check_weights,
    load_clip,
    read_tensors,
    require_file,
)
from pipelines.shared.loading import LoadedOnce

if TYPE_CHECKING:
    from torch import Tensor

SUFFIXES = (".safetensors", ".pth", ".pt")


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Settings.

    Attributes:
        model: One of `open_clip.list_models()`; LAION's heads were trained on `ViT-L-14-quickgelu` and `ViT-B-32`.
        weights: Path of a safetensors file of that CLIP.
        sha256: Digest of that file, 64 hex digits.
        head: Path of the head's weights: safetensors, or what `torch.save` wrote of tensors alone.
        head_sha256: Digest of that file, 64 hex digits.
        column: Name of the column, so that several heads can stand side by side.
        batch_size: Pictures at a time.
        device: `auto`, `cpu` or `cuda`.
    """

    model: str
    weights: str
    sha256: str
    head: str
    head_sha256: str
    column: str = "aesthetic_score"
    batch_size: int = 64
    device: str = "cpu"

    def __post_init__(self) -> None:
        check_weights(self.weights, self.sha256)
        check_model_settings(self.column, self.batch_size, self.device)
        if not self.head.endswith(SUFFIXES):
            raise ValueError(f"head must be a file of {', '.join(SUFFIXES)}, got {self.head}")
        if not SHA256.fullmatch(self.head_sha256):
            raise ValueError(f"head_sha256 must be 64 lower-case hex digits, got {self.head_sha256!r}")


class Annotator:
    """Column: `aesthetic_score` (or as named), per sample; mostly in [1, 10], not cut to it."""

    num_frames = 3

    def __init__(self, config: Config) -> None:
        require_file("weights", config.weights)
        require_file("head", config.head)
        self.config = config
        self.columns = {config.column: "float64"}
        self.batch_size = config.batch_size

    def files(self) -> tuple[Path, ...]:
        """The weights of the CLIP and of the head."""
        return Path(self.config.weights), Path(self.config.head)

    def load(self) -> None:
        """Load the CLIP and the head."""
        config = self.config
        load_clip(config.model, config.weights, config.sha256, config.device)
        load_head(config.head, config.head_sha256)

    def annotate(self, samples: Sequence[AnnotatorInput]) -> list[dict[str, Any]]:
        """Scores of each sample."""
        config = self.config
        frames = [sample.frames or (sample.image,) for sample in samples]
        clip = load_clip(config.model, config.weights, config.sha256, config.device)
        values = clip.encode_images(list(itertools.chain(*frames))).float().cpu()
        for weight, bias in load_head(config.head, config.head_sha256):
            if weight.shape[1] != values.shape[1]:
                raise ValueError(f"head: {config.head} reads {weight.shape[1]} numbers, {config.model} has others")
            values = values @ weight.T + bias
        means = [each.double().mean().item() for each in values[:, 0].split([len(own) for own in frames])]
        return [{config.column: round(mean, 4)} for mean in means]


@LoadedOnce
def load_head(path: str, sha256: str) -> "tuple[tuple[Tensor, Tensor], ...]":
    """Weights [out, in] and biases [out] of a head's linear layers, first to last; once per process.

    Raises:
        ValueError: The file is not the one of the settings, or does not hold such a head.
    """
    state = read_tensors(path, sha256)
    stems = sorted({name.rpartition(".")[0] for name in state}, key=_position)
    if set(state) != {f"{stem}.{kind}".lstrip(".") for stem in stems for kind in ("weight", "bias")}:
        raise ValueError(f"head: {path} must have a weight and a bias for each layer, got {', '.join(sorted(state))}")
    layers = tuple((state[f"{s}.weight".lstrip(".")].float(), state[f"{s}.bias".lstrip(".")].float()) for s in stems)
    shapes = [tuple(weight.shape) for weight, _ in layers]
    chained = all(len(shape) == 2 for shape in shapes) and all(b[1] == a[0] for a, b in itertools.pairwise(shapes))
    if not chained or shapes[-1][0] != 1:
        raise ValueError(f"head: {path} must be linear layers that end in one number, got weights of {shapes}")
    return layers


def _position(stem: str) -> int:
    number = stem.rpartition(".")[2]
    return int(number) if number.isdecimal() else 0
