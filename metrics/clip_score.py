"""CLIP score: how near a caption and an image are for a judge, against the same captions with other images.

Source: Hessel et al. 2021, arXiv:2104.08718, eq. 1 (2.5 max(cos, 0), mean over pairs); the scale of 100 is that of
torchmetrics and of most papers on text-to-image generation.

Keys:

- `clip_score`: mean of 100 cos, not clamped.
- `clip_score_w`: the paper's, mean of 2.5 max(cos, 0), clamped pair by pair.
- `clip_score_shuffled`: mean of 100 cos over each caption and every image that belongs to another sample. It is what a
  judge gives to images that fit the domain and not the caption.
- `clip_score_gap`: `clip_score` - `clip_score_shuffled`. The images follow the captions if its low end is above 0.

With a prefix, each key ends in `_prefixed`: the paper's captions begin with "A photo depicts ", those of most papers on
generation with nothing, and one judge gives the two conventions different values.

Differs from the paper: captions are encoded as they are unless a prefix is set; the judge is a model of the run, or
one that is given, and named in the protocol by the caller. Intervals resample test samples, with all their pairs.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from metrics.shared.bootstrap import Resampling, bootstrap_estimate, resampled_means
from metrics.shared.metric import EvidenceMetric, Score, unit_rows
from metrics.shared.pairs import append_pairs

BLOCK_PAIRS = 1024  # whose products stay in a processor's cache


@dataclass(frozen=True, kw_only=True, slots=True)
class Config(Resampling):
    """Settings, besides those of the bootstrap.

    Attributes:
        prefix: What the caller puts before each caption, with its space.
    """

    prefix: str = ""


class Metric(EvidenceMetric):
    """CLIP score of (image, caption) pairs.

    Attributes:
        prefix: What `pair_text_embeddings` must have before each caption.
    """

    inputs = ("pair_image_embeddings", "pair_text_embeddings", "pair_owner")

    def __init__(self, config: Config) -> None:
        super().__init__(*self.inputs)
        self.config = config
        self.prefix = config.prefix

    def update(self, *, pair_image_embeddings: Tensor, pair_text_embeddings: Tensor, pair_owner: Tensor) -> None:
        """Adds pairs: embeddings float32 [k, d] of any length, and the test sample of each pair, int64 [k]."""
        append_pairs(self, pair_image_embeddings, pair_text_embeddings, pair_owner)

    def score(self) -> Score:
        """All four results; per pair, the values whose means they are."""
        owner = self.rows("pair_owner")
        cosines, others, spread = _cosines(self.rows("pair_image_embeddings"), self.rows("pair_text_embeddings"), owner)
        values = {
            "clip_score": 100 * cosines,
            "clip_score_w": 2.5 * cosines.clamp(min=0),
            "clip_score_shuffled": 100 * (others + spread),
            "clip_score_gap": 100 * (cosines - others - spread),
        }
        suffix = "_prefixed" if self.prefix else ""
        per_pair = {f"{key}{suffix}": value.cpu().numpy() for key, value in values.items()}
        owners = owner.cpu().numpy()
        resampled = resampled_means(np.stack([*per_pair.values()], axis=1), owners, self.config)
        num_samples = len(np.unique(owners))
        return Score(
            estimates={
                key: bootstrap_estimate(
                    value.mean(), resampled[:, column], n=num_samples, higher_is_better="shuffled" not in key
                )
                for column, (key, value) in enumerate(per_pair.items())
            },
            per_sample=per_pair | {"owner": owners},
            protocol={
                "metric": f"clip_score{suffix}",
                "estimator": "cosine; 100 cos unclamped, 2.5 max(cos, 0); percentile bootstrap of samples",
                "prompt": self.prefix,
                "num_pairs": len(owners),
                "num_samples": num_samples,
                "num_resamples": self.config.num_resamples,
                "seed": self.config.seed,
            },
        )


def _cosines(images: Tensor, texts: Tensor, owner: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Cosines of the pairs, and of each caption with the images of other samples, in O(k d).

    The mean over other samples is a sum over pairs of pairs, so an image counts also as a distractor of all other
    captions. Resampling the captions' means alone would leave that variance out. The third value adds it: how much more
    than average an image resembles the captions of other samples. Its mean is 0 (van der Vaart 1998, Asymptotic
    Statistics, chapter 12: the projection of a U-statistic).

    Args:
        images: [k, d].
        texts: [k, d].
        owner: int64 [k].

    Returns:
        Cosine of pair i; mean cosine of caption i with the images of other samples; the centred mean cosine of image i
        with the captions of other samples; float64 [k] each.

    Raises:
        ValueError: All pairs belong to one sample.
    """
    names, member, counts = torch.unique(owner, return_inverse=True, return_counts=True)
    if len(names) < 2:
        raise ValueError(f"clip_score: needs pairs of at least 2 test samples, got {len(names)}")
    totals = images.new_zeros(2, images.shape[1], dtype=torch.float64)
    cosines, of_caption, of_image = totals.new_zeros(3, len(owner))
    for rows in _whole_samples(member, counts):
        image, text = unit_rows(images[rows]), unit_rows(texts[rows])
        local = member[rows] - member[rows[0]]
        own_images, own_texts = (
            each.new_zeros(int(local[-1]) + 1, each.shape[1]).index_add_(0, local, each)[local]
            for each in (image, text)
        )
        cosines[rows] = (image * text).sum(1)
        of_caption[rows], of_image[rows] = -(text * own_images).sum(1), -(image * own_texts).sum(1)
        totals += torch.stack([image.sum(0), text.sum(0)])
    for rows in torch.arange(len(owner), device=owner.device).split(BLOCK_PAIRS):
        of_caption[rows] += unit_rows(texts[rows]) @ totals[0]
        of_image[rows] += unit_rows(images[rows]) @ totals[1]
    num_others = len(owner) - counts[member]
    of_image /= num_others
    return cosines, of_caption / num_others, of_image - of_image.mean()


def _whole_samples(member: Tensor, counts: Tensor) -> Iterator[Tensor]:
    """Places of pairs, in blocks that have all pairs of their samples."""
    order, ends = torch.argsort(member, stable=True), counts.cumsum(0)
    start = 0
    while start < len(member):
        last = torch.searchsorted(ends, start + BLOCK_PAIRS, right=True) - 1  # the last sample that fits, or the next
        stop = int(ends[torch.maximum(last, member[order[start]])])
        yield order[start:stop]
        start = stop
