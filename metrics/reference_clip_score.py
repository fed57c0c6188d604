"""CLIP score with references: how near a written caption is to its image and to the captions that people gave it.

Source: Hessel et al. 2021, arXiv:2104.08718, eq. 2 (RefCLIPScore): for each caption the harmonic mean of
2.5 max(cos(image, caption), 0) and of max(cos(caption, reference), 0) for the nearest reference, then the mean over
captions.

Key: `reference_clip_score`; with a prefix, `reference_clip_score_prefixed`. The paper's has "A photo depicts " before
captions and references alike.

Differs from the paper: captions are encoded as they are unless a prefix is set; a caption that is opposite to both its
image and all its references scores 0, where the published code divides 0 by 0; the judge is a model of the run, or one
that is given, and named in the protocol by the caller. It is a score for models that write captions: a generator's
prompt is one of the references.

Intervals resample test samples, with all their pairs.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from metrics.shared.bootstrap import Resampling, bootstrap_estimate, resampled_means
from metrics.shared.metric import EvidenceMetric, Score, unit_rows
from metrics.shared.pairs import append_pairs

BLOCK_ELEMENTS = 4_000_000  # of the references that are compared at once


@dataclass(frozen=True, kw_only=True, slots=True)
class Config(Resampling):
    """Settings, besides those of the bootstrap.

    Attributes:
        prefix: What the caller puts before each caption and each reference, with its space.
    """

    prefix: str = ""


class Metric(EvidenceMetric):
    """RefCLIPScore of (image, caption) pairs.

    Attributes:
        prefix: What `pair_text_embeddings` and `reference_text_embeddings` must have before each text.
        key: Name of the result.
    """

    inputs = (
        "pair_image_embeddings",
        "pair_text_embeddings",
        "pair_owner",
        "reference_text_embeddings",
        "text_owner",
    )

    def __init__(self, config: Config) -> None:
        super().__init__(*self.inputs)
        self.config = config
        self.prefix = config.prefix
        self.key = "reference_clip_score" + ("_prefixed" if config.prefix else "")

    def update(
        self,
        *,
        pair_image_embeddings: Tensor,
        pair_text_embeddings: Tensor,
        pair_owner: Tensor,
        reference_text_embeddings: Tensor,
        text_owner: Tensor,
    ) -> None:
        """Adds pairs, and references; the batches of the two need not belong together.

        Args:
            pair_image_embeddings: float32 [k, d], of any length.
            pair_text_embeddings: float32 [k, d], of any length.
            pair_owner: int64 [k], the test sample of each pair.
            reference_text_embeddings: float32 [m, d], of any length.
            text_owner: int64 [m], the test sample of each reference.
        """
        append_pairs(self, pair_image_embeddings, pair_text_embeddings, pair_owner)
        assert reference_text_embeddings.ndim == 2, "reference_text_embeddings must be [m, d]"
        assert text_owner.shape == reference_text_embeddings.shape[:1], (
            f"text_owner must be [m], got {text_owner.shape}"
        )
        self.append("reference_text_embeddings", reference_text_embeddings, torch.float32)
        self.append("text_owner", text_owner, torch.int64)

    def score(self) -> Score:
        """The result; per pair, its score and its clamped cosine with the nearest reference."""
        images, texts, owner, references, text_owner = (self.rows(name) for name in self.inputs)
        texts, owners = unit_rows(texts), owner.cpu().numpy()
        of_image = 2.5 * (unit_rows(images) * texts).sum(1).clamp(min=0).cpu().numpy()
        of_reference = nearest_reference(texts, owner, references, text_owner).clamp(min=0).cpu().numpy()
        total = of_image + of_reference
        scores = 2 * of_image * of_reference / np.where(total > 0, total, 1)
        num_samples = len(np.unique(owners))
        return Score(
            estimates={
                self.key: bootstrap_estimate(
                    scores.mean(), resampled_means(scores, owners, self.config), n=num_samples, higher_is_better=True
                )
            },
            per_sample={self.key: scores, "reference_cosine": of_reference, "owner": owners},
            protocol={
                "metric": self.key,
                "estimator": "harmonic mean of 2.5 max(cos, 0) and of the nearest reference's max(cos, 0); percentile "
                "bootstrap of samples",
                "prompt": self.prefix,
                "num_pairs": len(owners),
                "num_references": len(references),
                "num_samples": num_samples,
                "num_resamples": self.config.num_resamples,
                "seed": self.config.seed,
            },
        )


def nearest_reference(texts: Tensor, owner: Tensor, references: Tensor, text_owner: Tensor) -> Tensor:
    """Largest cosine of each caption with the references of its sample.

    Args:
        texts: Unit rows, float64 [k, d].
        owner: int64 [k].
        references: [m, d], of any length.
        text_owner: int64 [m].

    Returns:
        float64 [k].

    Raises:
        ValueError: A caption's sample has no reference.
    """
    ordered, order = torch.sort(text_owner, stable=True)
    first = torch.searchsorted(ordered, owner)
    counts = torch.searchsorted(ordered, owner, right=True) - first
    without = int((counts == 0).sum())
    if without:
        raise ValueError(f"reference_clip_score: every pair needs a reference, {without} of {len(owner)} have none")
    nearest = texts.new_full((len(texts),), -torch.inf)
    for place in range(int(counts.max())):
        # the captions that have so many references, each with that one of them
        for pairs in torch.nonzero(counts > place)[:, 0].split(max(1, BLOCK_ELEMENTS // texts.shape[1])):
            reference = unit_rows(references[order[first[pairs] + place]])
            nearest[pairs] = torch.maximum(nearest[pairs], (texts[pairs] * reference).sum(1))
    return nearest
