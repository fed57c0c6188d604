"""CLIP4Clip with mean pooling: a clip's embedding is the mean of its frames' embeddings in a CLIP, fine-tuned on clips.

Source: Luo et al. 2021, arXiv:2104.08860, section 3.3 (the parameter-free similarity, "meanP"): frames are embedded one
by one, normalised, averaged over the frames that there are, and normalised again. Loss: `models.shared.contrastive`.

Published: meanP on MSR-VTT, train-9k, has text-to-video recall at 1 of 43.1 (the best epoch on the test set).

Differs from the paper: the base is any `DualEncoder` (`clip`, `clip_locked`); of towers with a frozen part the frames'
features are computed once, and what comes after it is fine-tuned. All parameters have one learning rate.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from models import Batch
from models.shared.checks import require
from models.shared.contrastive import ContrastiveModel, DualEncoder

FRAME_FEATURE, TEXT_FEATURE = "frame_feature", "text_feature"


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Settings.

    Attributes:
        num_frames: Evenly spaced frames of a clip that are looked at.
    """

    num_frames: int = 12

    def __post_init__(self) -> None:
        require(self.num_frames >= 1, "num_frames", self.num_frames, "at least 1")


class Model(ContrastiveModel):
    """See `models` for the methods. The base is copied: this model fine-tunes its own.

    Attributes:
        base_role: The name of the CLIP among the bases.
        feature_sources: What the frozen features in `batch_keys` are made of; empty if the base has none.
        feature_key: What they are; the base's.
    """

    base_role = "clip"

    def __init__(self, config: Config, bases: Mapping[str, nn.Module]) -> None:
        super().__init__()
        base: Any = bases.get(self.base_role)
        require(
            isinstance(base, DualEncoder), "base", type(base).__module__, "a model of two towers: clip, clip_locked"
        )
        self.config = config
        self.num_frames = config.num_frames
        self.clip: Any = copy.deepcopy(base)
        self.clip.requires_grad_(True)
        self.image_px = self.clip.image_px
        frozen = self.clip.feature_sources.values()
        self.frames_key = FRAME_FEATURE if "image" in frozen else "video"
        self.text_key = TEXT_FEATURE if "caption" in frozen else "caption"
        self.batch_keys = (self.frames_key, "frame_mask", self.text_key)
        sources = {FRAME_FEATURE: "video", TEXT_FEATURE: "caption"}
        self.feature_sources = {name: source for name, source in sources.items() if name in self.batch_keys}
        self.feature_key = getattr(self.clip, "feature_key", "")

    @property
    def logit_scale(self) -> nn.Parameter:
        """Logarithm of the scale of the cosines, scalar."""
        return self.clip.logit_scale

    def frozen_features(self, batch: Batch) -> dict[str, Tensor]:
        """What comes before the trained part, of towers where something does.

        Returns:
            `frame_feature` [B, F, ...] if there is a `video`, `text_feature` [B, ...] if there is a `caption`.
        """
        features: dict[str, Tensor] = {}
        if "video" in batch and FRAME_FEATURE in self.feature_sources:
            features[FRAME_FEATURE] = self.frames_input(batch["video"])
        if "caption" in batch and TEXT_FEATURE in self.feature_sources:
            features[TEXT_FEATURE] = self.clip.text_input(batch["caption"])
        return features

    def embed_pairs(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Embeddings of clips and captions, each float32 [B, D], rows of length 1."""
        frames = batch[FRAME_FEATURE] if FRAME_FEATURE in self.feature_sources else self.frames_input(batch["video"])
        text = batch[TEXT_FEATURE] if TEXT_FEATURE in self.feature_sources else self.clip.text_input(batch["caption"])
        return self.embed_frames(frames, batch["frame_mask"]), self.clip.embed_text(text)

    def frames_input(self, video: Tensor) -> Tensor:
        """float32 [B, F, 3, H, W] in [-1, 1] -> what the base embeds of each frame, [B, F, ...]."""
        return self.clip.image_input(video.flatten(0, 1)).unflatten(0, video.shape[:2])

    def embed_frames(self, frames: Tensor, frame_mask: Tensor) -> Tensor:
        """Mean over the frames that there are.

        Args:
            frames: What the base embeds of each frame, [B, F, ...].
            frame_mask: bool [B, F], True where a frame is; one at least in each clip.

        Returns:
            float32 [B, D], rows of length 1.
        """
        embedded = self.clip.embed_image(frames.flatten(0, 1)).unflatten(0, frame_mask.shape)
        return functional.normalize(embedded.masked_fill(~frame_mask[..., None], 0).sum(dim=1), dim=-1)

    def encode_video(self, video: Tensor, frame_mask: Tensor) -> Tensor:
        """float32 [B, F, 3, H, W] in [-1, 1], bool [B, F] -> float32 [B, D], rows of length 1."""
        return self.embed_frames(self.frames_input(video), frame_mask)

    def encode_text(self, captions: Sequence[str]) -> Tensor:
        """B captions -> float32 [B, D], rows of length 1."""
        return self.clip.embed_text(self.clip.text_input(captions))
