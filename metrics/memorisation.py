"""Memorisation: are generated images nearer to training images than new images are?

Sources: Alaa et al. 2022, arXiv:2102.08921 (authenticity); Meehan et al. 2020, arXiv:2004.05675 (data copying: the
Mann-Whitney statistic of distances to the training set, of generated against held-out images).

The training set is given, as it is for the model; nothing of the intervals is about another one. Keys:

- `authenticity_<detector>`: share of the generated images that are farther from their nearest training image than that
  training image is from its own nearest neighbour in the training set.
- `authenticity_reference_<detector>`: the same of the test images, which nobody copied: what to expect of a model that
  does not copy. It is far from 1: a new point of the training set's own distribution is the nearest neighbour of its
  nearest neighbour with a probability of 2/3 on a line and 0.62 in a plane (Clark & Evans 1955, Science 121).
- `nearest_train_ratio_<detector>`: share of the pairs of a generated and a test image in which the generated one is
  nearer to the training set; a tie counts one half. At 0.5 they are as near as new images; above it, the model copies;
  below it, its images are less like those of the training set than new ones are. Its interval is a delete-a-group
  jackknife's over both sets, symmetric in the logit of the value (cut to [0, 1] instead, it held the expected value in
  only 88% of draws near 0.97), and the exact binomial one where the value is 0 or 1.

Of each generated image are kept `nearest_train_index_<detector>` (a row of `train_features`),
`nearest_train_distance_<detector>`, and `nearest_train_spacing_<detector>`, the distance from that training image to
its nearest neighbour, so that the pairs can be looked at.

Differs from the papers: distances are Euclidean in the detector's features, float64. For data copying space is not
divided into cells, and the share of pairs takes the place of a z-score, which grows with the number of images.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metrics.shared.bootstrap import Resampling, group_labels, proportion_estimate, resampled_means
from metrics.shared.detecting import FeatureMetric, GroupedSettings, jackknife_estimate
from metrics.shared.estimates import Estimate
from metrics.shared.metric import Score
from metrics.shared.neighbours import Points, nearest

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Config(GroupedSettings):
    """Settings, besides those of the detector and of the jackknife.

    Attributes:
        num_resamples: Bootstrap resamples for authenticity, at least 100.
    """

    num_resamples: int = 1000

    def __post_init__(self) -> None:
        GroupedSettings.__post_init__(self)
        self.resampling()

    def resampling(self) -> Resampling:
        """Number of resamples, and seed."""
        return Resampling(num_resamples=self.num_resamples, seed=self.seed)


@dataclass(frozen=True, slots=True)
class NearestTraining:
    """Of each image of a set, its nearest training image; [n] each.

    Attributes:
        index: Its row, int64.
        squared: Squared distance to it, float64.
        spacing: Squared distance from it to the nearest other training image, float64.
        authentic: Whether the image is farther from it than that is, float64.
    """

    index: NDArray[np.int64]
    squared: Floats
    spacing: Floats
    authentic: Floats


class Metric(FeatureMetric):
    """Authenticity and data copying."""

    inputs = ("train_features", "reference_features", "generated_features")
    config: Config

    def update(self, *, train_features: Tensor, reference_features: Tensor, generated_features: Tensor) -> None:
        """Adds features, float32 [t, D], [n, D] and [k, D]; the counts of a batch may differ, and be 0."""
        self.add(
            train_features=train_features, reference_features=reference_features, generated_features=generated_features
        )

    def score(self) -> Score:
        """Three results; per generated image, its nearest training image and whether it is authentic."""
        train, reference, generated = (self.rows(name) for name in self.inputs)
        tests, made, tie = nearest_training(train, reference, generated)
        value, left_out = self._nearer(made, tests, tie)
        name = self.detector.label
        ratio = f"nearest_train_ratio_{name}"
        authentic = {f"authenticity_{name}": made.authentic, f"authenticity_reference_{name}": tests.authentic}
        return Score(
            estimates={
                **{key: self._proportion(values) for key, values in authentic.items()},
                ratio: jackknife_estimate(
                    value,
                    left_out,
                    n=min(len(reference), len(generated)),
                    higher_is_better=False,
                    bounds="logit",
                ),
            },
            per_sample={
                **authentic,
                f"{ratio}_leave_one_group_out": left_out,
                f"nearest_train_index_{name}": made.index,
                f"nearest_train_distance_{name}": np.sqrt(made.squared),
                f"nearest_train_spacing_{name}": np.sqrt(made.spacing),
            },
            protocol={
                "metric": "memorisation",
                "estimator": "Euclidean, given training set; percentile bootstrap, delete-a-group jackknife of pairs",
                "num_resamples": self.config.num_resamples,
                **self.shared_protocol(),
            },
        )

    def _proportion(self, values: Floats) -> Estimate:
        resampled = resampled_means(values, np.arange(len(values)), self.config.resampling())
        return proportion_estimate(float(values.mean()), resampled, n=len(values), higher_is_better=True)

    def _nearer(self, made: NearestTraining, tests: NearestTraining, tie: float) -> tuple[float, Floats]:
        """Share of pairs in which the generated image is nearer, and with each group left out of both, [g]."""
        reference_labels, generated_labels = (
            group_labels(len(each.squared), self.config.num_groups, (self.config.seed, index))
            for index, each in enumerate((tests, made))
        )
        left_out = [
            share_nearer(made.squared[generated_labels != group], tests.squared[reference_labels != group], tie)
            for group in range(self.config.num_groups)
        ]
        return share_nearer(made.squared, tests.squared, tie), np.array(left_out)


def nearest_training(
    train: Tensor, reference: Tensor, generated: Tensor
) -> tuple[NearestTraining, NearestTraining, float]:
    """Nearest training images of test images and of generated images, and which squared distances are equal.

    Only training images that are nearest to some image are compared with the training set.

    Args:
        train: Features [t, D] of any float type, t at least 2.
        reference: Features [n, D].
        generated: Features [m, D].

    Raises:
        ValueError: There is one training image only.
    """
    if len(train) < 2:
        raise ValueError(f"memorisation: needs at least 2 training images, got {len(train)}")
    points = Points.of(train, reference, generated)
    train, *others = points.sets
    squared, index = nearest(torch.cat(others), train, points.tie)
    unique, member = torch.unique(index, return_inverse=True)
    spacing = nearest(train[unique], train, points.tie, own=unique)[0][member]
    authentic = (squared > spacing + points.tie).double()
    tests, made = (
        NearestTraining(*(each.cpu().numpy() for each in part))
        for part in zip(
            *(values.split([len(rows) for rows in others]) for values in (index, squared, spacing, authentic)),
            strict=True,
        )
    )
    return tests, made, points.tie


def share_nearer(generated: Floats, reference: Floats, tie: float) -> float:
    """Share of pairs in which the first value is below the second, values within `tie` counting one half."""
    ordered = np.sort(reference)
    below = np.searchsorted(ordered, generated - tie, side="left")
    not_above = np.searchsorted(ordered, generated + tie, side="right")
    return float(1 - (below + not_above).mean() / (2 * len(reference)))
