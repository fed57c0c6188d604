"""The held-out samples of a pack."""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from pipelines.shared.files import digest_json
from pipelines.shared.manifests import manifest_digest, read_manifest
from pipelines.shared.pixels import clip_pixels, image_pixels
from pipelines.shared.records import Caption, Sample
from pipelines.shared.shards import read_shard

SPLIT = "test"


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Test samples with their captions.

    Attributes:
        samples: In key order; each has at least one caption of the wanted origins.
        captions: All captions of these origins, sample by sample.
        origins: The origin of each caption.
        owners: The row of `samples` that each caption belongs to.
        pack_sha256: Digest of the pack's manifest.
        sha256: Digest of the samples' pixels and captions: two packs may share a test split.
    """

    samples: tuple[Sample, ...]
    captions: tuple[str, ...]
    origins: tuple[str, ...]
    owners: tuple[int, ...]
    pack_sha256: str
    sha256: str

    @classmethod
    def load(cls, folder: Path, origins: Sequence[str], without: Collection[str] = frozenset()) -> "HeldOut":
        """Read the test split of a pack.

        Args:
            folder: The pack.
            origins: Which captions count; a sample without one of them is left out.
            without: Keys of samples that are left out.

        Raises:
            ValueError: No test sample has a caption of these origins.
        """
        samples: list[Sample] = []
        captions: list[Caption] = []
        owners: list[int] = []
        for info in read_manifest(folder).files(f"{SPLIT}/"):
            for sample in read_shard(folder, info):
                chosen = [caption for caption in sample.captions if caption.origin in origins]
                if chosen and sample.key not in without:
                    captions += chosen
                    owners += [len(samples)] * len(chosen)
                    samples.append(sample)
        if not samples:
            raise ValueError(f"{folder}: no sample of the {SPLIT} split has a caption of {', '.join(origins)}")
        return cls(
            samples=tuple(samples),
            captions=tuple(caption.text for caption in captions),
            origins=tuple(caption.origin for caption in captions),
            owners=tuple(owners),
            pack_sha256=manifest_digest(folder),
            sha256=digest_json(
                [
                    [(sample.key, hashlib.sha256(sample.media).hexdigest()) for sample in samples],
                    [(caption.text, caption.origin) for caption in captions],
                ]
            ),
        )

    def images(self, side_px: int) -> Tensor:
        """All pictures, uint8 [n, 3, side_px, side_px]."""
        return torch.stack([image_pixels(sample, side_px) for sample in self.samples])

    def clips(self, side_px: int, num_frames: int) -> tuple[Tensor, Tensor]:
        """All clips, uint8 [n, num_frames, 3, side_px, side_px] and the mask of their frames, bool [n, num_frames]."""
        pixels, masks = zip(*(clip_pixels(sample, side_px, num_frames) for sample in self.samples), strict=True)
        return torch.stack(pixels), torch.stack(masks)


def split_images(folder: Path, split: str, side_px: int, at_most: int | None = None) -> Tensor:
    """Pictures of a split of a pack in key order, uint8 [n, 3, side_px, side_px].

    Args:
        folder: The pack.
        split: `train`, `val` or `test`.
        side_px: Side of the pictures.
        at_most: How many are wanted; all, where it is left out.

    Raises:
        ValueError: The split has no picture.
    """
    pictures: list[Tensor] = []
    for info in read_manifest(folder).files(f"{split}/"):
        if at_most is not None and len(pictures) >= at_most:
            break
        pictures += [image_pixels(sample, side_px) for sample in read_shard(folder, info) if not sample.is_video]
    if not pictures:
        raise ValueError(f"{folder}: the {split} split has no pictures")
    return torch.stack(pictures[:at_most])
