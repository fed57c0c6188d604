"""Precision, recall, density and coverage: do generated images lie among the test images, and do they reach them all?

Sources: Kynkaanniemi et al. 2019, arXiv:1904.06991 (precision and recall, k = 3); Naeem et al. 2020, arXiv:2002.09797
(density and coverage, k = 5, and what to expect of them for a perfect model).

The ball of a point reaches to its k-th nearest neighbour in its own set, not counting itself. Keys:

- `precision_<detector>`: share of the generated images in a ball of any test image. Quality.
- `recall_<detector>`: share of the test images in a ball of any generated image. Variety.
- `density_<detector>`: balls of test images that hold a generated image, over k, mean over generated images. It is 1 on
  average for a perfect model, and may be more. An outlier with a large ball counts for little, unlike in precision.
- `coverage_<detector>`: share of the test images whose ball holds a generated image. For a perfect model and n images
  of each its mean is 1 - (n - 1) ... (n - k) / ((2n - 1) ... (2n - k)), about 1 - 2^-k.

All depend on the number of images: balls shrink as a set grows. Equal counts only are compared.

Intervals: a bootstrap of points would double points, whose nearest neighbour is then their copy, and so spoil every
radius. A bootstrap of the values per image with all balls held fixed leaves out the variance of the set that the balls
come from: on Gaussians of 16 and 32 dimensions, 128 and 500 of each, its interval held the expected value in 67 to 95%
of the draws, and in fewer where that was above 0.99. The delete-a-group jackknife here leaves groups out of both sets
at once and finds the radii anew: its interval held it in 94 to 100%, and is up to 1.9 times as wide as need be. A share
of exactly 0 or 1 has the exact binomial interval. All are about the value to expect at these counts.

Differs from the papers' codes: float64, distances in blocks, and distances equal up to rounding are equal.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metrics.shared.detecting import FeatureMetric, GroupedSettings, jackknife_estimate
from metrics.shared.metric import Score
from metrics.shared.neighbours import GroupedPoints, Points, distance_blocks, radii


@dataclass(frozen=True, kw_only=True, slots=True)
class Config(GroupedSettings):
    """Settings, besides those of the detector and of the jackknife.

    Attributes:
        precision_k: Which nearest neighbour a ball reaches to, for precision and recall; at least 1.
        density_k: The same for density and coverage.
    """

    precision_k: int = 3
    density_k: int = 5

    def __post_init__(self) -> None:
        GroupedSettings.__post_init__(self)
        for name, k in (("precision_k", self.precision_k), ("density_k", self.density_k)):
            if k < 1:
                raise ValueError(f"{name} must be at least 1, got {k}")


class Metric(FeatureMetric):
    """Precision, recall, density and coverage of the features of generated images."""

    inputs = ("reference_features", "generated_features")
    config: Config

    def update(self, *, reference_features: Tensor, generated_features: Tensor) -> None:
        """Adds features, float32 [n, D] and [k, D]; the counts of a batch may differ, and be 0."""
        self.add(reference_features=reference_features, generated_features=generated_features)

    def score(self) -> Score:
        """The four values, and each with each group left out."""
        reference, generated = (self.rows(name) for name in self.inputs)
        values = manifold_values(reference, generated, self.config)
        counts = {"precision": len(generated), "density": len(generated)}
        return Score(
            estimates={
                f"{name}_{self.detector.label}": jackknife_estimate(
                    float(value[-1]),
                    value[:-1],
                    n=counts.get(name, len(reference)),
                    higher_is_better=True,
                    bounds="none" if name == "density" else "cut",
                )
                for name, value in values.items()
            },
            per_sample={
                f"{name}_{self.detector.label}_leave_one_group_out": value[:-1] for name, value in values.items()
            },
            protocol={
                "metric": "manifold",
                "estimator": "closed balls to the k-th neighbour, Euclidean; delete-a-group jackknife of both sets",
                "precision_k": self.config.precision_k,
                "density_k": self.config.density_k,
                **self.shared_protocol(),
            },
        )


def manifold_values(reference: Tensor, generated: Tensor, config: Config) -> dict[str, NDArray[np.float64]]:
    """Precision, recall, density and coverage.

    Args:
        reference: Features of test images, [n, D] of any float type.
        generated: Features of generated images, [m, D].
        config: Which neighbours and groups.

    Returns:
        By name float64 [g + 1]: with each group left out of both sets, and last of everything.

    Raises:
        ValueError: There are too few rows for the groups or for the neighbours.
    """
    points = Points.of(reference, generated)
    tests, made = (
        GroupedPoints.of(rows, config.num_groups, (config.seed, index)) for index, rows in enumerate(points.sets)
    )
    _check_counts(tests, made, config)
    near, wide = (each + points.tie for each in radii(tests, (config.precision_k, config.density_k)))
    reach = radii(made, (config.precision_k,))[0] + points.tie
    inside, held = (torch.zeros_like(made.kept, dtype=torch.float64) for _ in range(2))
    found, covered = (torch.zeros_like(tests.kept, dtype=torch.float64) for _ in range(2))
    farthest_test, farthest_made = torch.maximum(near, wide).amax(0), reach.amax(0)
    for place, squared in distance_blocks(made.rows, tests.rows):
        # few pairs are within a ball of any kind, and only these are looked at once for each group
        within = squared <= torch.maximum(farthest_test, farthest_made[place, None])
        row, column = within.nonzero(as_tuple=True)
        distance = squared[row, column]
        row += place.start
        in_wide = distance <= wide[:, column]
        inside.index_add_(1, row, (distance <= near[:, column]).double())
        held.index_add_(1, row, in_wide.double())
        found.index_add_(1, column, (distance <= reach[:, row]).double())
        covered.index_add_(1, column, (in_wide & made.kept[:, row]).double())
    return {
        "precision": _means(inside > 0, made.kept),
        "recall": _means(found > 0, tests.kept),
        "density": _means(held, made.kept) / config.density_k,
        "coverage": _means(covered > 0, tests.kept),
    }


def _means(values: Tensor, kept: Tensor) -> NDArray[np.float64]:
    """Means over the points that are kept, [g + 1], of values [g + 1, n]."""
    return (torch.where(kept, values, 0).sum(1, dtype=torch.float64) / kept.sum(1)).cpu().numpy()


def _check_counts(tests: GroupedPoints, made: GroupedPoints, config: Config) -> None:
    for name, points, k in (
        ("test", tests, max(config.precision_k, config.density_k)),
        ("generated", made, config.precision_k),
    ):
        left = int(points.kept.sum(1).min())
        if left <= k:
            raise ValueError(
                f"manifold: precision_k and density_k must be below the number of {name} images with a group left out "
                f"({left}), got {config.precision_k} and {config.density_k}"
            )
