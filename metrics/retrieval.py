"""Retrieval of images or clips by captions and of captions by images or clips: recall at K and ranks.

Sources: Karpathy & Fei-Fei 2015, arXiv:1412.2306, section 4.1 (recall at K, median rank, several captions per image);
Yu et al. 2018, arXiv:1808.02559 (the video protocol, 1k-A); Voorhees 1999, The TREC-8 Question Answering Track Report
(mean reciprocal rank); Cheng et al. 2021, arXiv:2109.04290 (the dual softmax).

Protocol: similarity is the cosine in float64. A caption has one right image. An image is found if any of its captions
is: its rank is that of its best caption, and only captions of other images stand before it. The gallery is the whole
test set. Equal scores have no order, so a recall is the expected one over all orders of a tie (a constant
model scores the chance level, not 0 or 1), and so are a rank, which is the middle of the tie for one right answer, and
its reciprocal. Median rank is `numpy.median` of the ranks counted from 1, as in CLIP4Clip's code; others take the lower
middle.

Keys, for each direction: `<direction>_recall@<K>`, `_mrr`, `_mean_rank`, `_median_rank`, and `_tied_frac`, the share of
queries that have a wrong answer exactly as good as the right one: near 0 for a working model, 1 for one that has
collapsed, and in between for embeddings of too few bits.

With `post: dual-softmax` the keys end in `_dsl`. A score is then the cosine times its softmax over all queries, which
needs the whole set of queries and uses that each answer is asked for about equally often: it is another task than
answering one query, and stands beside it, never in its place. Differs from the published code of several models, which
take the softmax over captions in both directions: here it is over the queries, so over images in the other direction.

Intervals resample images (clips), each with all its captions, in both directions. A recall of 0 or of 1 has the exact
binomial interval over images.
"""

import logging
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metrics.shared.bootstrap import (
    Resampling,
    bootstrap_estimate,
    proportion_estimate,
    resampled_means,
    resampled_medians,
)
from metrics.shared.estimates import Estimate
from metrics.shared.metric import EvidenceMetric, Score
from metrics.shared.ranking import Placement, place, place_dual_softmax

MEDIA = ("image", "video")
SUFFIXES = {"none": "", "dual-softmax": "_dsl"}
MAX_TEMPERATURE = 300.0  # beyond it, a softmax of cosines underflows in float64
MAX_TIED_FRAC = 1e-3  # of the queries, before a warning

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Config(Resampling):
    """Settings, besides those of the bootstrap.

    Attributes:
        media: `image` or `video`, what the captions belong to.
        recall_at: The K of recall at K, each at least 1, ascending.
        post: `none`, or `dual-softmax`.
        temperature: What cosines are multiplied by in the softmax, in (0, 300]; of no effect without it.
    """

    media: str = "image"
    recall_at: tuple[int, ...] = (1, 5, 10)
    post: str = "none"
    temperature: float = 100.0

    def __post_init__(self) -> None:
        Resampling.__post_init__(self)
        if self.media not in MEDIA:
            raise ValueError(f"media must be one of {', '.join(MEDIA)}, got {self.media!r}")
        if not self.recall_at or self.recall_at[0] < 1 or list(self.recall_at) != sorted(set(self.recall_at)):
            raise ValueError(f"recall_at must be ascending numbers of at least 1, got {self.recall_at}")
        if self.post not in SUFFIXES:
            raise ValueError(f"post must be one of {', '.join(SUFFIXES)}, got {self.post!r}")
        if not 0 < self.temperature <= MAX_TEMPERATURE:
            raise ValueError(f"temperature must be in (0, {MAX_TEMPERATURE:g}], got {self.temperature}")


class Metric(EvidenceMetric):
    """Recall at K and ranks in both directions."""

    def __init__(self, config: Config) -> None:
        self.inputs = (f"{config.media}_embeddings", "text_embeddings", "text_owner")
        super().__init__("media_embeddings", "text_embeddings", "text_owner")
        self.config = config

    def update(self, *, text_embeddings: Tensor, text_owner: Tensor, **media_embeddings: Tensor) -> None:
        """Adds images or clips, and captions; the batches of the two need not belong together.

        Args:
            text_embeddings: float32 [m, d], of any length.
            text_owner: int64 [m], the image or clip of each caption, counted from 0 over all updates.
            **media_embeddings: `image_embeddings` or `video_embeddings`, float32 [n, d], of any length.
        """
        assert set(media_embeddings) == {self.inputs[0]}, f"expected {self.inputs}, got {sorted(media_embeddings)}"
        embeddings = media_embeddings[self.inputs[0]]
        assert embeddings.ndim == text_embeddings.ndim == 2, "embeddings must be [n, d] and [m, d]"
        assert text_owner.shape == text_embeddings.shape[:1], f"text_owner must be [m], got {tuple(text_owner.shape)}"
        self.append("media_embeddings", embeddings, torch.float32)
        self.append("text_embeddings", text_embeddings, torch.float32)
        self.append("text_owner", text_owner, torch.int64)

    def score(self) -> Score:
        """All results; per query, those of which they are means."""
        media, texts, owner = (self.rows(name) for name in ("media_embeddings", "text_embeddings", "text_owner"))
        _check(len(media), owner, self.config)
        if self.config.post == "none":
            by_text, by_media = place(media, texts, owner)
        else:
            by_text, by_media = place_dual_softmax(media, texts, owner, self.config.temperature)
        there, back = f"text_to_{self.config.media}", f"{self.config.media}_to_text"
        owners = owner.cpu().numpy()
        estimates: dict[str, Estimate] = {}
        per_sample: dict[str, np.ndarray] = {}
        for direction, placement, clusters in ((there, by_text, owners), (back, by_media, np.arange(len(media)))):
            _warn_of_ties(direction, placement)
            values = self._values(direction, placement)
            estimates |= self._estimates(direction, values, clusters)
            per_sample |= {**values, f"{direction}_owner": clusters}
        return Score(estimates=estimates, per_sample=per_sample, protocol=self._protocol(there, back, owners))

    def _key(self, direction: str, what: str) -> str:
        return f"{direction}_{what}{SUFFIXES[self.config.post]}"

    def _values(self, direction: str, placement: Placement) -> dict[str, NDArray[np.float64]]:
        """What the results are means of, per query."""
        recalls = {self._key(direction, f"recall@{k}"): placement.recall(k) for k in self.config.recall_at}
        return {
            **recalls,
            self._key(direction, "mrr"): placement.reciprocal_rank(),
            self._key(direction, "tied_frac"): placement.is_tied().astype(np.float64),
            self._key(direction, "mean_rank"): placement.rank(),
        }

    def _estimates(
        self, direction: str, values: dict[str, NDArray[np.float64]], clusters: np.ndarray
    ) -> dict[str, Estimate]:
        num_samples = len(np.unique(clusters))
        resampled = resampled_means(np.stack([*values.values()], axis=1), clusters, self.config)
        mean_rank, median_rank = (self._key(direction, f"{which}_rank") for which in ("mean", "median"))
        lower_is_better = {mean_rank, self._key(direction, "tied_frac")}
        found = {}
        for column, (key, value) in enumerate(values.items()):
            # all others are in [0, 1], and a reciprocal rank is 1 where a recall at 1 is
            estimate = bootstrap_estimate if key == mean_rank else proportion_estimate
            found[key] = estimate(
                float(value.mean()),
                resampled[:, column],
                n=num_samples,
                higher_is_better=key not in lower_is_better,
            )
        ranks = values[mean_rank]
        medians = resampled_medians(ranks, clusters, self.config)
        found[median_rank] = bootstrap_estimate(float(np.median(ranks)), medians, n=num_samples, higher_is_better=False)
        return found

    def _protocol(self, there: str, back: str, owner: NDArray[np.int64]) -> dict[str, str | int | float]:
        captions = np.bincount(owner)
        num_media, num_texts = np.full(len(owner), len(captions)), np.full(len(captions), len(owner))
        chance = {
            there: Placement(np.zeros_like(owner), num_media, np.ones_like(owner)),
            back: Placement(np.zeros_like(captions), num_texts, captions),
        }
        levels = {
            f"{self._key(direction, f'recall@{k}')}_chance": float(placement.recall(k).mean())
            for direction, placement in chance.items()
            for k in self.config.recall_at
        }
        post = self.config.post
        return {
            "metric": f"retrieval{SUFFIXES[post]}",
            "media": self.config.media,
            "estimator": "cosine in float64, any right caption, expected over ties; percentile bootstrap of samples, "
            "exact at 0 and 1",
            "post": post if post == "none" else f"{post} over the queries, temperature {self.config.temperature:g}",
            "num_samples": len(captions),
            "num_captions": len(owner),
            "num_resamples": self.config.num_resamples,
            "seed": self.config.seed,
            **levels,
        }


def _check(num_media: int, owner: Tensor, config: Config) -> None:
    assert int(owner.min()) >= 0 and int(owner.max()) < num_media, f"text_owner must be in [0, {num_media})"
    without = num_media - len(torch.unique(owner))
    if without:
        raise ValueError(f"retrieval: every test {config.media} needs a caption, {without} of {num_media} have none")
    if config.recall_at[-1] >= num_media:
        raise ValueError(
            f"retrieval: recall at {config.recall_at[-1]} needs more than {config.recall_at[-1]} test samples, "
            f"got {num_media}"
        )


def _warn_of_ties(direction: str, placement: Placement) -> None:
    tied = float(placement.is_tied().mean())
    if tied > MAX_TIED_FRAC:
        logger.warning("%s: %.1f%% of the queries have wrong answers tied with the right one", direction, 100 * tied)
