"""R-precision of generated images: how often an image's own caption is its best among captions of other samples.

Source: Xu et al. 2018, arXiv:1711.10485, section 4 (AttnGAN; one own caption and 99 that do not match, so that R is 1).

Protocol: cosine in float64 by a judge. Caption i of another sample is drawn without replacement, by a stream that
depends on the seed and on the image's place alone, so that two models with the same captions meet the same ones; the
draws are kept with the scores. Equal scores have no order: an image whose caption is tied with t - 1 others for the
best counts 1 / t, so that a constant judge scores the chance level.

Keys: `r_precision`, and `r_precision_mrr`, the mean reciprocal rank of the own caption among the same captions, which
tells models apart on a small test set where R-precision has a handful of hits.

Differs from the paper: the judge is a model of the run, or one that is given, in place of DAMSM; every generated image
counts once, in place of 30,000 drawn images; the reciprocal rank is ours. Not torchmetrics' RetrievalRPrecision, which
is another measure.

Intervals resample test samples, with all their images, for the captions that were drawn; a value of 0 or 1 has the
exact binomial interval over samples.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metrics.shared.bootstrap import Resampling, proportion_estimate, resampled_means
from metrics.shared.metric import EvidenceMetric, Score, unit_rows
from metrics.shared.pairs import append_pairs
from metrics.shared.ranking import TIE, Placement

BLOCK_ELEMENTS = 4_000_000  # of the captions that are compared at once


@dataclass(frozen=True, kw_only=True, slots=True)
class Config(Resampling):
    """Settings, besides those of the bootstrap; the seed is also that of the draws.

    Attributes:
        num_distractors: Captions of other samples that each image is given, at least 1. Where a test set has fewer,
            all of them, by which the chance level changes.
    """

    num_distractors: int = 99

    def __post_init__(self) -> None:
        Resampling.__post_init__(self)
        if self.num_distractors < 1:
            raise ValueError(f"num_distractors must be at least 1, got {self.num_distractors}")


class Metric(EvidenceMetric):
    """R-precision of (image, caption) pairs."""

    inputs = ("pair_image_embeddings", "pair_text_embeddings", "pair_owner")

    def __init__(self, config: Config) -> None:
        super().__init__(*self.inputs)
        self.config = config

    def update(self, *, pair_image_embeddings: Tensor, pair_text_embeddings: Tensor, pair_owner: Tensor) -> None:
        """Adds pairs: embeddings float32 [k, d] of any length, and the test sample of each pair, int64 [k]."""
        append_pairs(self, pair_image_embeddings, pair_text_embeddings, pair_owner)

    def score(self) -> Score:
        """Both results; per image, its values and the pairs whose captions it was given, one image after another."""
        images, texts, owner = (self.rows(name) for name in self.inputs)
        owners = owner.cpu().numpy()
        distractors = draw_distractors(owners, self.config.num_distractors, self.config.seed)
        placement = place_own(images, texts, distractors)
        values = {"r_precision": placement.recall(1), "r_precision_mrr": placement.reciprocal_rank()}
        resampled = resampled_means(np.stack([*values.values()], axis=1), owners, self.config)
        num_samples, width = len(np.unique(owners)), distractors.shape[1]
        return Score(
            estimates={
                key: proportion_estimate(value.mean(), resampled[:, column], n=num_samples, higher_is_better=True)
                for column, (key, value) in enumerate(values.items())
            },
            per_sample={**values, "owner": owners, "distractors": distractors.reshape(-1)},
            protocol={
                "metric": "r_precision",
                "estimator": "cosine in float64, expected over ties, drawn captions of other samples; percentile "
                "bootstrap of samples, exact at 0 and 1",
                "num_distractors": width,
                "r_precision_chance": 1 / (1 + width),
                "r_precision_mrr_chance": float(np.mean(1 / np.arange(1, 2 + width))),
                "num_pairs": len(owners),
                "num_samples": num_samples,
                "num_resamples": self.config.num_resamples,
                "seed": self.config.seed,
            },
        )


def draw_distractors(owner: NDArray[np.int64], num_distractors: int, seed: int) -> NDArray[np.int64]:
    """Pairs of other samples for each pair, without replacement.

    Args:
        owner: [k], the sample of each pair.
        num_distractors: How many; as many as every pair has, where that is fewer.
        seed: Pair i draws from a stream of (seed, i).

    Returns:
        int64 [k, number drawn].

    Raises:
        ValueError: All pairs belong to one sample.
    """
    _, member, counts = np.unique(owner, return_inverse=True, return_counts=True)
    if len(counts) < 2:
        raise ValueError("r_precision: needs pairs of at least 2 test samples, got 1")
    width = min(num_distractors, len(owner) - int(counts.max()))
    by_sample = np.argsort(member, kind="stable")
    first = np.concatenate([[0], np.cumsum(counts)[:-1]])
    drawn = np.empty((len(owner), width), np.int64)
    for pair, sample in enumerate(member):
        places = np.random.default_rng((seed, pair)).choice(len(owner) - counts[sample], size=width, replace=False)
        drawn[pair] = by_sample[places + np.where(places >= first[sample], counts[sample], 0)]
    return drawn


def place_own(images: Tensor, texts: Tensor, distractors: NDArray[np.int64]) -> Placement:
    """Where each image's own caption stands among it and the drawn ones.

    Args:
        images: [k, d], of any length.
        texts: [k, d], of any length.
        distractors: [k, w], rows of `texts`.
    """
    texts = unit_rows(texts)
    above, tied = [], []
    for rows, own, drawn in _blocks(images, texts, torch.from_numpy(distractors).to(texts.device)):
        right = (rows * own).sum(1, keepdim=True)
        wrong = (texts[drawn] @ rows[:, :, None])[:, :, 0]
        above.append((wrong > right + TIE).sum(1))
        tied.append((wrong >= right - TIE).sum(1) + 1 - above[-1])
    return Placement(
        above=torch.cat(above).cpu().numpy(), tied=torch.cat(tied).cpu().numpy(), right=np.ones(len(images), np.int64)
    )


def _blocks(images: Tensor, texts: Tensor, drawn: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Unit rows of images with their own captions and the numbers of the drawn ones."""
    size = max(1, BLOCK_ELEMENTS // (drawn.shape[1] * images.shape[1]))
    for rows, own, numbers in zip(images.split(size), texts.split(size), drawn.split(size), strict=True):
        yield unit_rows(rows), own, numbers
