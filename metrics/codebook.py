"""How much of a codebook is used: share of the codes, and perplexity.

Source: van den Oord et al. 2017, arXiv:1711.00937 (VQ-VAE; perplexity as the published code logs it); Miller 1955, Note
on the Bias of Information Estimates (the entropy of a sample is too small).

Keys, of the codes of all test images:

- `codebook_usage`: share of the codes that occur; the others are dead, or too rare for this test set.
- `codebook_perplexity`: exp(H), H the entropy in nats of how often the codes occur: the number of equally frequent
  codes with that entropy, from 1 to the size of the codebook.
- `codebook_position_perplexity`: the same at each position of the code map by itself, mean over positions. Far below
  the perplexity where a code says where it is.

Each with `_unbiased`, the delete-a-group jackknife's estimate. All of them grow with the number of images: a plain
value is what to expect at this number, which is in the protocol, and its interval is about that; the corrected one
removes the first term of the bias and is still too small where images are few for the codes. A bootstrap would be
wrong: a resample holds fewer different images, so that its usage and perplexity mostly lie below the value itself.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metrics.shared.bootstrap import Jackknife, check_seed, group_labels, jackknife
from metrics.shared.estimates import Estimate
from metrics.shared.metric import EvidenceMetric, Score

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Settings.

    Attributes:
        num_groups: Groups of the jackknife, at least 5.
        seed: Of the groups.
    """

    num_groups: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        if self.num_groups < 5:
            raise ValueError(f"num_groups must be at least 5, got {self.num_groups}")
        check_seed(self.seed)


class Metric(EvidenceMetric):
    """Codebook usage and perplexity."""

    inputs = ("codes", "codebook_size")

    def __init__(self, config: Config) -> None:
        super().__init__(*self.inputs)
        self.config = config

    def update(self, *, codes: Tensor, codebook_size: Tensor) -> None:
        """Adds code maps int64 [n, L], and the number of codes, int64 [1], which may be left out, [0], but once."""
        assert codes.ndim == 2, f"codes must be [n, L], got {tuple(codes.shape)}"
        assert codebook_size.ndim == 1, f"codebook_size must be [1], got {tuple(codebook_size.shape)}"
        self.append("codes", codes, torch.int64)
        self.append("codebook_size", codebook_size, torch.int64)

    def score(self) -> Score:
        """All results, and their values with each group of images left out."""
        codes, sizes = (self.rows(name).cpu().numpy() for name in self.inputs)
        size = int(sizes[0])
        assert (sizes == size).all(), f"codebook_size must be one number, got {np.unique(sizes)}"
        assert codes.min() >= 0 and codes.max() < size, f"codes must be in [0, {size})"
        group = group_labels(len(codes), self.config.num_groups, (self.config.seed,))
        values = _values(codes, group, self.config.num_groups, size)
        estimates: dict[str, Estimate] = {}
        for key, (plain, left_out) in values.items():
            largest = 1.0 if key == "codebook_usage" else float(size)
            estimates |= _estimates(key, jackknife(plain, left_out), largest, len(codes))
        return Score(
            estimates=estimates,
            per_sample={f"{key}_leave_one_group_out": left_out for key, (_, left_out) in values.items()},
            protocol={
                "metric": "codebook",
                "estimator": "empirical frequencies, natural logarithm, delete-a-group jackknife of images",
                "codebook_size": size,
                "num_positions": codes.shape[1],
                "num_images": len(codes),
                "num_groups": self.config.num_groups,
                "seed": self.config.seed,
            },
        )


def perplexity(counts: NDArray[np.int64]) -> Floats:
    """Exponential of the entropy in nats of frequencies, [..., number of codes] -> [...]."""
    shares = counts / counts.sum(-1, keepdims=True)
    return np.exp(-(shares * np.log(np.where(shares > 0, shares, 1))).sum(-1))


def _values(
    codes: NDArray[np.int64], group: NDArray[np.int64], num_groups: int, size: int
) -> dict[str, tuple[float, Floats]]:
    """Every functional of all images, and with each group left out, [number of groups]."""
    position_perplexity = np.zeros(1 + num_groups)
    everywhere = np.zeros((1 + num_groups, size), np.int64)
    for column in codes.T:  # one position at a time: its counts by group and code are all that is held
        by_group = np.bincount(group * size + column, minlength=num_groups * size).reshape(num_groups, size)
        counts = np.concatenate([[by_group.sum(0)], by_group.sum(0) - by_group])
        position_perplexity += perplexity(counts) / codes.shape[1]
        everywhere += counts
    found = {
        "codebook_usage": (everywhere > 0).mean(-1),
        "codebook_perplexity": perplexity(everywhere),
        "codebook_position_perplexity": position_perplexity,
    }
    return {key: (float(values[0]), values[1:]) for key, values in found.items()}


def _estimates(key: str, result: Jackknife, largest: float, n: int) -> dict[str, Estimate]:
    """The plain value and the corrected one; no end of an interval is where no value can be."""
    smallest = 0.0 if key == "codebook_usage" else 1.0
    estimates = {}
    for name, value in ((key, result.value), (f"{key}_unbiased", min(max(result.unbiased, smallest), largest))):
        estimates[name] = Estimate(
            value=value,
            low=max(value - result.half_width, smallest),
            high=min(value + result.half_width, largest),
            n=n,
            interval="jackknife",
            higher_is_better=True,
        )
    return estimates
