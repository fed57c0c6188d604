"""Annotators: one module per score or fact about a sample, found by module name.

Every plug-in module has a `Config` (frozen, keyword-only dataclass; ranges checked in `__post_init__`) and an
`Annotator(config)` as the protocol below says. An annotator knows one batch of samples, and nothing of Beam, shards or
`params.yaml`. Names of columns are unique over all annotators and the crawl's facts: a plug-in that may stand in
`params.yaml` twice takes its column's name as a setting.

A picture or clip is decoded once for all annotators: of a clip as many frames as the one that wants most of them, of
which each sees its own; nothing is decoded where no annotator reads pixels. Batches are cut per shard, in shard order,
by the annotator's own `batch_size`, so their members do not depend on workers, bundling or the other annotators.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from PIL import Image

from pipelines.shared.records import Caption

FRAME_COUNTS = (3, 5, 9, 17, 33, 65, 129, 257)
"""How many frames of a clip an annotator may want: evenly spaced, fewer of them are always among more of them."""
ERROR_COLUMN = "annotate_error"
"""Column of the annotation layer that says why a sample has no values; empty for all others."""


class NoPixels:
    """Stands in for pictures that nobody decoded; whoever looks at it after all breaks its own word."""

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"{name}: an annotator with reads_pixels = False has no pixels to read")


NO_PIXELS: Any = NoPixels()


@dataclass(frozen=True, kw_only=True, slots=True)
class AnnotatorInput:
    """One sample, decoded if the annotator reads pixels.

    Attributes:
        key: The sample's key.
        media: `image` or `video`.
        image: Mode RGB: the picture, or the middle frame of a clip; else `NO_PIXELS`.
        first_image: Mode RGB: the picture, or the first frame of a clip; else `NO_PIXELS`.
        frames: Mode RGB: of a clip frames evenly spaced from the first to the last, as many as the annotator wants, or
            all of them where it has fewer; of a picture none.
        captions: All captions, in the order of the layers.
        facts: The crawl's facts.
    """

    key: str
    media: Literal["image", "video"]
    image: Image.Image
    first_image: Image.Image
    captions: tuple[Caption, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    frames: tuple[Image.Image, ...] = ()


class Annotator(Protocol):
    """What the stage needs.

    Attributes:
        columns: Name of each column to its Arrow type: `float64`, `int32`, `bool`, `string`, `binary`, ... of a value
            per sample, or `list<...>` of a value per caption, in the order of the captions.
        batch_size: Most samples in one call.
        num_frames: Optional: frames of a clip that it wants, one of `FRAME_COUNTS`; none without it.
        reads_pixels: Optional: False for one that looks at captions and facts alone, which then gets `NO_PIXELS`.

    One that reads files of the project names them by a method `files() -> tuple[Path, ...]`, for workers that do not
    see the project's folder. One that runs a model loads it by a method `load() -> None`, once per process.
    """

    columns: Mapping[str, str]
    batch_size: int

    def annotate(self, samples: Sequence[AnnotatorInput]) -> list[dict[str, Any]]:
        """One mapping per sample, with every column; a sample's values depend on that sample alone."""
        ...
