"""Retrieval of images or clips by captions and of captions by images or clips: recall at K, median and mean rank.

Sources: Karpathy & Fei-Fei 2015, arXiv:1412.2306, section 4.1 (recall at K, median rank, several captions per image);
Yu et al. 2018, arXiv:1808.02559 (the video protocol, 1k-A); McSherry & Najork 2008, Computing Information Retrieval
Performance Measures Efficiently in the Presence of Tied Scores (expected values over the order of ties).

Protocol: similarity is the cosine in float64. A caption has one right image. An image is found if any of its captions
is: its rank is that of its best caption, and only captions of other images stand before it. The gallery is the whole
test set. Equal scores have no order, so a recall is the expected one over all orders of a tie (a constant
model scores the chance level, not 0 or 1) and a rank the expected one, which is the middle of the tie for one right
answer. Median rank is `numpy.median` of the ranks counted from 1, as in CLIP4Clip's code; others take the lower middle.

Results do not depend on the block size or on the order of a matrix product: scores that differ by less than 1e-12 are
equal, which is far more than float64 rounding and far less than a float32 embedding can resolve.

Intervals resample images (clips), each with all its captions, in both directions.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metrics.shared.bootstrap import Resampling, bootstrap_estimate, resampled_means, resampled_medians
from metrics.shared.estimates import Estimate
from metrics.shared.metric import EvidenceMetric, Score, unit_rows

MEDIA = ("image", "video")
TIE = 1e-12
BLOCK_SCORES = 4_000_000  # of the score matrix held at once
MAX_TIED_FRAC = 1e-3  # of the queries, before a warning

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Config(Resampling):
    """Settings, besides those of the bootstrap.

    Attributes:
        media: `image` or `video`, what the captions belong to.
        recall_at: The K of recall at K, each at least 1, ascending.
    """

    media: str = "image"
    recall_at: tuple[int, ...] = (1, 5, 10)

    def __post_init__(self) -> None:
        Resampling.__post_init__(self)
        if self.media not in MEDIA:
            raise ValueError(f"media must be one of {', '.join(MEDIA)}, got {self.media!r}")
        if not self.recall_at or self.recall_at[0] < 1 or list(self.recall_at) != sorted(set(self.recall_at)):
            raise ValueError(f"recall_at must be ascending numbers of at least 1, got {self.recall_at}")


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the right answers of each query stand, int64 [number of queries] each.

    Attributes:
        above: Wrong answers that are better than the best right one.
        tied: Answers as good as the best right one, right ones included.
        right: Right answers among the tied.
    """

    above: NDArray[np.int64]
    tied: NDArray[np.int64]
    right: NDArray[np.int64]

    def recall(self, k: int) -> NDArray[np.float64]:
        """Probability that a right answer is among the first k when ties are put in random order."""
        missed = np.ones(len(self.above))
        for place in range(k):
            tied_before = place - self.above  # of those tied with it, already drawn and wrong
            wrong, left = self.tied - self.right - tied_before, self.tied - tied_before
            missed *= np.where(tied_before >= 0, np.maximum(wrong, 0) / np.maximum(left, 1), 1.0)
        return 1 - missed

    def rank(self) -> NDArray[np.float64]:
        """Expected rank of the first right answer, from 1."""
        return 1 + self.above + (self.tied - self.right) / (self.right + 1)


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
        """Recalls and ranks; per query, its expected recalls and its rank."""
        media, texts, owner = (self.rows(name) for name in ("media_embeddings", "text_embeddings", "text_owner"))
        _check(len(media), owner, self.config)
        by_text, by_media = place(media, texts, owner)
        there, back = f"text_to_{self.config.media}", f"{self.config.media}_to_text"
        owners = owner.cpu().numpy()
        estimates: dict[str, Estimate] = {}
        per_sample: dict[str, np.ndarray] = {}
        for direction, placement, clusters in ((there, by_text, owners), (back, by_media, np.arange(len(media)))):
            _warn_of_ties(direction, placement)
            recalls = {f"{direction}_recall@{k}": placement.recall(k) for k in self.config.recall_at}
            estimates |= self._estimates(direction, recalls, placement.rank(), clusters)
            per_sample |= {**recalls, f"{direction}_rank": placement.rank(), f"{direction}_owner": clusters}
        return Score(estimates=estimates, per_sample=per_sample, protocol=self._protocol(there, back, owners))

    def _estimates(
        self, direction: str, recalls: dict[str, NDArray[np.float64]], ranks: NDArray[np.float64], clusters: np.ndarray
    ) -> dict[str, Estimate]:
        means = {**recalls, f"{direction}_mean_rank": ranks}
        num_samples = len(np.unique(clusters))
        resampled = resampled_means(np.stack([*means.values()], axis=1), clusters, self.config)
        found = {
            key: bootstrap_estimate(value.mean(), resampled[:, column], n=num_samples, higher_is_better=key in recalls)
            for column, (key, value) in enumerate(means.items())
        }
        medians = resampled_medians(ranks, clusters, self.config)
        found[f"{direction}_median_rank"] = bootstrap_estimate(
            float(np.median(ranks)), medians, n=num_samples, higher_is_better=False
        )
        return found

    def _protocol(self, there: str, back: str, owner: NDArray[np.int64]) -> dict[str, str | int | float]:
        captions = np.bincount(owner)
        num_media, num_texts = np.full(len(owner), len(captions)), np.full(len(captions), len(owner))
        chance = {
            there: Placement(np.zeros_like(owner), num_media, np.ones_like(owner)),
            back: Placement(np.zeros_like(captions), num_texts, captions),
        }
        levels = {
            f"{direction}_recall@{k}_chance": float(placement.recall(k).mean())
            for direction, placement in chance.items()
            for k in self.config.recall_at
        }
        return {
            "metric": "retrieval",
            "media": self.config.media,
            "estimator": "cosine in float64, any right caption, expected over ties; percentile bootstrap of samples",
            "post": "none",
            "num_samples": len(captions),
            "num_captions": len(owner),
            "num_resamples": self.config.num_resamples,
            "seed": self.config.seed,
            **levels,
        }


def place(media: Tensor, texts: Tensor, owner: Tensor) -> tuple[Placement, Placement]:
    """Places of the right answers, for captions as queries and for images (clips) as queries.

    Memory beyond the arguments: one block of scores, and the images in float64.

    Args:
        media: [n, d], of any length.
        texts: [m, d], of any length.
        owner: int64 [m], a row of `media`; every row of it occurs.
    """
    media, owners = unit_rows(media), owner.cpu().numpy()
    right = np.concatenate(
        [(rows * media[own]).sum(1).cpu().numpy() for rows, own in _blocks(texts, owner, len(media))]
    )
    best = np.full(len(media), -np.inf)
    np.maximum.at(best, owners, right)
    text_above, text_tied, media_above = (np.zeros(size, np.int64) for size in (len(right), len(right), len(media)))
    right_tied = np.bincount(owners, weights=right >= best[owners] - TIE, minlength=len(media)).astype(np.int64)
    media_tied = right_tied.copy()
    start = 0
    for rows, own in _blocks(texts, owner, len(media)):
        stop = start + len(rows)
        scores = (rows @ media.T).cpu().numpy()
        scores[np.arange(len(rows)), own.cpu().numpy()] = -2  # its own image is counted apart
        target = right[start:stop, None]
        text_above[start:stop] = np.count_nonzero(scores > target + TIE, axis=1)
        text_tied[start:stop] = np.count_nonzero(scores >= target - TIE, axis=1) - text_above[start:stop] + 1
        above = np.count_nonzero(scores > best + TIE, axis=0)
        media_above += above
        media_tied += np.count_nonzero(scores >= best - TIE, axis=0) - above
        start = stop
    return Placement(text_above, text_tied, np.ones_like(text_tied)), Placement(media_above, media_tied, right_tied)


def _blocks(texts: Tensor, owner: Tensor, num_media: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Unit rows of captions with their owners, so many at a time that their scores fit into a block."""
    size = max(1, BLOCK_SCORES // num_media)
    for rows, own in zip(texts.split(size), owner.split(size), strict=True):
        yield unit_rows(rows), own


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
    tied = float(np.mean(placement.tied > placement.right))
    if tied > MAX_TIED_FRAC:
        logger.warning("%s: %.1f%% of the queries have wrong answers tied with the right one", direction, 100 * tied)
