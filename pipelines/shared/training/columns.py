"""Columns: what a batch is put together from, one kind of value each.

Pixels are uint8: decoded once and kept in the feature store up to a stated size, decoded when asked for above it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from pipelines.shared.pixels import clip_pixels, image_pixels
from pipelines.shared.training.order import Pick
from pipelines.shared.training.split import Split


class Column(Protocol):
    """One kind of value, for any rows of a split."""

    def __call__(self, picks: Sequence[Pick]) -> Any:
        """Values of the picked rows, in their order."""
        ...


@dataclass(frozen=True, slots=True)
class StoredRows:
    """A tensor with one row per sample."""

    rows: Tensor

    def __call__(self, picks: Sequence[Pick]) -> Tensor:
        """[B, ...]."""
        return self.rows[torch.tensor([pick.row for pick in picks])]


@dataclass(frozen=True, slots=True)
class StoredTextRows:
    """A tensor with one row per distinct caption."""

    rows: Tensor

    def __call__(self, picks: Sequence[Pick]) -> Tensor:
        """[B, ...]."""
        return self.rows[torch.tensor([pick.text for pick in picks])]


@dataclass(frozen=True, slots=True)
class Captions:
    """The captions themselves."""

    texts: tuple[str, ...]

    def __call__(self, picks: Sequence[Pick]) -> list[str]:
        """B texts."""
        return [self.texts[pick.text] for pick in picks]


@dataclass(frozen=True, slots=True)
class Groups:
    """Which rows are of the same sample."""

    def __call__(self, picks: Sequence[Pick]) -> Tensor:
        """int64 [B]."""
        return torch.tensor([pick.row for pick in picks])


@dataclass(frozen=True, slots=True)
class DecodedImages:
    """Pictures, decoded when asked for."""

    split: Split
    side_px: int

    def __call__(self, picks: Sequence[Pick]) -> Tensor:
        """uint8 [B, 3, H, W]."""
        return torch.stack([image_pixels(self.split.sample(pick.row), self.side_px) for pick in picks])


@dataclass(frozen=True, slots=True)
class DecodedClips:
    """Clips, decoded when asked for: frames and mask packed into one tensor, so that one pass gives both."""

    split: Split
    side_px: int
    num_frames: int

    def __call__(self, picks: Sequence[Pick]) -> Tensor:
        """uint8 [B, F, 3 * H * W + 1]; the last byte of a frame is 1 where there is one."""
        packed = []
        for pick in picks:
            pixels, mask = clip_pixels(self.split.sample(pick.row), self.side_px, self.num_frames)
            packed.append(torch.cat([pixels.flatten(1), mask[:, None].to(torch.uint8)], dim=1))
        return torch.stack(packed)


@dataclass(frozen=True, kw_only=True)
class MediaShape:
    """What pixels a model takes.

    Attributes:
        media: `image` or `video`.
        side_px: Side of the square.
        num_frames: Frames of a clip; 0 for images.
    """

    media: str
    side_px: int
    num_frames: int = 0

    def decoded(self, split: Split) -> Column:
        """The column that decodes."""
        if self.media == "video":
            return DecodedClips(split, self.side_px, self.num_frames)
        return DecodedImages(split, self.side_px)

    def num_bytes(self, split: Split) -> int:
        """Size of all decoded pixels of a split."""
        return len(split.keys) * max(1, self.num_frames) * 3 * self.side_px**2


@dataclass(frozen=True, slots=True)
class FrameMasks:
    """Which frames of a clip there are, for a model that reads features of frames and not the pixels."""

    clips: Column

    def __call__(self, picks: Sequence[Pick]) -> Tensor:
        """Booleans [B, F]."""
        return self.clips(picks)[..., -1].bool()
