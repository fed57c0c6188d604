"""The held-out samples of a pack."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from pipelines.shared.files import digest_json
from pipelines.shared.manifests import manifest_digest, read_manifest
from pipelines.shared.pixels import clip_pixels, image_pixels
from pipelines.shared.records import Sample
from pipelines.shared.shards import read_shard

SPLIT = "test"


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Test samples with their captions.

    Attributes:
        samples: In key order; each has at least one caption of the wanted origins.
        captions: All captions of these origins, sample by sample.
        owners: The row of `samples` that each caption belongs to.
        pack_sha256: Digest of the pack's manifest.
        sha256: Digest of the samples' pixels and captions: two packs may share a test split.
    """

    samples: tuple[Sample, ...]
    captions: tuple[str, ...]
    owners: tuple[int, ...]
    pack_sha256: str
    sha256: str

    @classmethod
    def load(cls, folder: Path, origins: Sequence[str]) -> "HeldOut":
        """Read the test split of a pack.

        Raises:
            ValueError: No test sample has a caption of these origins.
        """
        samples: list[Sample] = []
        captions: list[str] = []
        owners: list[int] = []
        for info in read_manifest(folder).files(f"{SPLIT}/"):
            for sample in read_shard(folder, info):
                texts = [caption.text for caption in sample.captions if caption.origin in origins]
                if texts:
                    captions += texts
                    owners += [len(samples)] * len(texts)
                    samples.append(sample)
        if not samples:
            raise ValueError(f"{folder}: no sample of the {SPLIT} split has a caption of {', '.join(origins)}")
        return cls(
            samples=tuple(samples),
            captions=tuple(captions),
            owners=tuple(owners),
            pack_sha256=manifest_digest(folder),
            sha256=digest_json(
                [[(sample.key, hashlib.sha256(sample.media).hexdigest()) for sample in samples], captions]
            ),
        )

    def images(self, side_px: int) -> Tensor:
        """All pictures, uint8 [n, 3, side_px, side_px]."""
        return torch.stack([image_pixels(sample, side_px) for sample in self.samples])

    def clips(self, side_px: int, num_frames: int) -> tuple[Tensor, Tensor]:
        """All clips, uint8 [n, num_frames, 3, side_px, side_px] and the mask of their frames, bool [n, num_frames]."""
        pixels, masks = zip(*(clip_pixels(sample, side_px, num_frames) for sample in self.samples), strict=True)
        return torch.stack(pixels), torch.stack(masks)
