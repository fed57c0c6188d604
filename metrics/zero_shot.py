"""Zero-shot classification: how often an image's class is among the K classes whose texts are nearest.

Source: Radford et al. 2021, arXiv:2103.00020, section 3.1 (a class is the normalised mean over prompts; accuracy at 1
and 5, mean per-class recall on the data sets that are reported so).

Keys: `zero_shot_accuracy@<K>`, and `zero_shot_mean_per_class_recall`, the mean over classes of the accuracy at 1 of
their images, so that frequent classes do not decide it.

Protocol: cosine in float64. Equal scores have no order, so that each value is the expected one over all orders of a tie
and a constant model scores the chance level. Images without a class are left out, and classes without images remain as
wrong answers.

Intervals resample images. For the mean per-class recall an image weighs 1 / (number of images of its class), and the
weights are resampled with it. This is at least as wide as resampling within classes, which has no width for a class
with one image. A value of 0 or 1 has the exact binomial interval; for the mean per-class recall its trials are (number
of classes) * (images of the rarest), which bounds the mean over classes of any sizes.

The per-sample values of the mean per-class recall are hits times these weights, scaled to have it as their mean.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from metrics.shared.bootstrap import Resampling, proportion_estimate, resampled_means
from metrics.shared.estimates import Estimate
from metrics.shared.metric import EvidenceMetric, Score
from metrics.shared.ranking import place

RECALL = "zero_shot_mean_per_class_recall"


@dataclass(frozen=True, kw_only=True, slots=True)
class Config(Resampling):
    """Settings, besides those of the bootstrap.

    Attributes:
        accuracy_at: The K of accuracy at K, each at least 1, ascending, below the number of classes.
    """

    accuracy_at: tuple[int, ...] = (1, 5)

    def __post_init__(self) -> None:
        Resampling.__post_init__(self)
        if not self.accuracy_at or self.accuracy_at[0] < 1 or list(self.accuracy_at) != sorted(set(self.accuracy_at)):
            raise ValueError(f"accuracy_at must be ascending numbers of at least 1, got {self.accuracy_at}")


class Metric(EvidenceMetric):
    """Accuracy at K and mean per-class recall."""

    inputs = ("image_embeddings", "class_embeddings", "image_class")

    def __init__(self, config: Config) -> None:
        super().__init__(*self.inputs)
        self.config = config

    def update(self, *, image_embeddings: Tensor, class_embeddings: Tensor, image_class: Tensor) -> None:
        """Adds images with their classes, and classes; the batches of the two need not belong together.

        Args:
            image_embeddings: float32 [n, d], of any length.
            class_embeddings: float32 [c, d], of any length.
            image_class: int64 [n], the class of each image, counted from 0 over all updates; -1 for none.
        """
        assert image_embeddings.ndim == class_embeddings.ndim == 2, "embeddings must be [n, d] and [c, d]"
        assert image_class.shape == image_embeddings.shape[:1], f"image_class must be [n], got {image_class.shape}"
        self.append("image_embeddings", image_embeddings, torch.float32)
        self.append("class_embeddings", class_embeddings, torch.float32)
        self.append("image_class", image_class, torch.int64)

    def score(self) -> Score:
        """All results; per image with a class, its expected hits."""
        images, classes, labels = (self.rows(name) for name in self.inputs)
        self._check(len(classes), labels)
        known = labels >= 0
        placement, _ = place(classes, images[known], labels[known])
        label = labels[known].cpu().numpy()
        per_sample = {f"zero_shot_accuracy@{k}": placement.recall(k) for k in self.config.accuracy_at}
        resampled = resampled_means(np.stack([*per_sample.values()], axis=1), np.arange(len(label)), self.config)
        estimates = {
            key: proportion_estimate(value.mean(), resampled[:, column], n=len(label), higher_is_better=True)
            for column, (key, value) in enumerate(per_sample.items())
        }
        estimates[RECALL], per_sample[RECALL] = self._per_class(placement.recall(1), label)
        return Score(
            estimates=estimates,
            per_sample={**per_sample, "owner": np.flatnonzero(known.cpu().numpy())},
            protocol={
                "metric": "zero_shot",
                "estimator": "cosine in float64, expected over ties; percentile bootstrap of images, exact at 0 and 1",
                "num_images": len(label),
                "num_left_out": len(labels) - len(label),
                "num_classes": len(classes),
                "num_classes_with_images": len(np.unique(label)),
                "num_resamples": self.config.num_resamples,
                "seed": self.config.seed,
                **{f"zero_shot_accuracy@{k}_chance": k / len(classes) for k in self.config.accuracy_at},
                f"{RECALL}_chance": 1 / len(classes),
            },
        )

    def _per_class(self, hits: np.ndarray, label: np.ndarray) -> tuple[Estimate, np.ndarray]:
        """The mean per-class recall, and the values per image whose mean it is."""
        _, member, counts = np.unique(label, return_inverse=True, return_counts=True)
        weights = len(label) / (len(counts) * counts[member])
        weighted = np.stack([weights * hits, weights], axis=1)
        totals = resampled_means(weighted, np.arange(len(label)), self.config)
        recalls = np.bincount(member, weights=hits) / counts
        estimate = proportion_estimate(
            float(recalls.mean()),
            totals[:, 0] / totals[:, 1],
            n=len(label),
            higher_is_better=True,
            num_trials=len(counts) * int(counts.min()),
        )
        return estimate, weighted[:, 0]

    def _check(self, num_classes: int, labels: Tensor) -> None:
        assert -1 <= int(labels.min()) <= int(labels.max()) < num_classes, f"image_class must be in [-1, {num_classes})"
        if not bool((labels >= 0).any()):
            raise ValueError(f"zero_shot: none of the {len(labels)} images has a class")
        if self.config.accuracy_at[-1] >= num_classes:
            raise ValueError(
                f"zero_shot: accuracy at {self.config.accuracy_at[-1]} needs more than {self.config.accuracy_at[-1]} "
                f"classes, got {num_classes}"
            )
