"""Vendi score: the effective number of different images.

Source: Friedman & Dieng 2022, arXiv:2210.02410: exp of the entropy of the eigenvalues of K / n, where K holds the
cosines of the features of n images.

Keys: `vendi_<detector>` of the generated images, `vendi_reference_<detector>` of the test images. It is 1 if all
features point one way, n if all are orthogonal. It says nothing of quality: noise is diverse. It grows with n, so both
are of equally many images, the larger set being cut to a seeded choice. Features that are never negative, as those of
most networks, have large cosines and so small scores.

Differs from the paper's code: the eigenvalues are those of the smaller of K and the D x D matrix of second moments,
which are the same but for zeros; intervals, by a delete-a-group jackknife, about the value to expect at this count.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metrics.shared.bootstrap import group_labels
from metrics.shared.detecting import FeatureMetric, GroupedSettings, jackknife_estimate
from metrics.shared.metric import Score, unit_rows


@dataclass(frozen=True, kw_only=True, slots=True)
class Config(GroupedSettings):
    """Settings: those of the detector and of the jackknife."""


class Metric(FeatureMetric):
    """Vendi scores of the features of generated and of test images."""

    inputs = ("reference_features", "generated_features")

    def update(self, *, reference_features: Tensor, generated_features: Tensor) -> None:
        """Adds features, float32 [n, D] and [k, D], of any length but 0; the counts of a batch may differ, and be 0."""
        self.add(reference_features=reference_features, generated_features=generated_features)

    def score(self) -> Score:
        """Both scores, and both with each group left out."""
        evidence = {f"vendi_reference_{self.detector.label}": 0, f"vendi_{self.detector.label}": 1}
        count = min(len(self.rows(name)) for name in self.inputs)
        results = {}
        for key, index in evidence.items():
            seed = (self.config.seed, index)
            results[key] = vendi_jackknife(
                chosen(self.rows(self.inputs[index]), count, seed), self.config.num_groups, seed
            )
        return Score(
            estimates={
                key: jackknife_estimate(*result, n=count, higher_is_better=True) for key, result in results.items()
            },
            per_sample={f"{key}_leave_one_group_out": left_out for key, (_, left_out) in results.items()},
            protocol={
                "metric": "vendi",
                "estimator": "exp of the entropy of the eigenvalues of cosines / n; delete-a-group jackknife",
                "num_compared": count,
                **self.shared_protocol(),
            },
        )


def vendi_jackknife(features: Tensor, num_groups: int, seed: tuple[int, int]) -> tuple[float, NDArray[np.float64]]:
    """The score of rows [n, D] of any float type, and with each group left out, [g].

    Raises:
        ValueError: There are fewer than two rows per group.
    """
    labels = torch.from_numpy(group_labels(len(features), num_groups, seed)).to(features.device)
    value, *left_out = (_effective_number(matrix) for matrix in _matrices(unit_rows(features), labels, num_groups))
    return value, np.array(left_out)


def chosen(rows: Tensor, count: int, seed: tuple[int, int]) -> Tensor:
    """So many of the rows, in their order; which ones, the seed decides."""
    places = np.random.default_rng(seed).permutation(len(rows))[:count]
    return rows[torch.from_numpy(np.sort(places)).to(rows.device)]


def _matrices(unit: Tensor, labels: Tensor, num_groups: int) -> Iterator[Tensor]:
    """The smaller of the matrices with the eigenvalues of K / n: of everything, then with each group left out."""
    count, width = unit.shape
    whole = unit @ unit.T if count <= width else unit.T @ unit
    yield whole / count
    for group in range(num_groups):
        out = labels == group
        left = whole[~out][:, ~out] if count <= width else whole - unit[out].T @ unit[out]
        yield left / int((~out).sum())


def _effective_number(matrix: Tensor) -> float:
    eigenvalues = torch.linalg.eigvalsh(matrix).clamp(min=0)
    return float(torch.special.entr(eigenvalues).sum().exp())
