"""Frechet distance between the features of test images and of generated images.

Source: Heusel et al. 2017, arXiv:1706.08500, eq. 6 (FID). Projection of the features: Vempala 2004, The Random
Projection Method. Bias by the number of samples: Binkowski et al. 2018, arXiv:1801.01401; Chong & Forsyth 2020,
arXiv:1911.07023.

Keys: `fid` only for the Inception network of FID without projection; otherwise `fd_<detector>`, with `_p<dims>` where
the features were projected. A distance is comparable only with one of the same detector, projection and counts.

- `<key>` is the plain distance at these counts, the number that is published. It is biased upwards, the more so the
  fewer the samples; its interval is about the value that one should expect at these counts, not about the truth.
- `<key>_unbiased` is the delete-a-group jackknife's estimate, with its interval. It may be negative.

Differs from the paper:
- A result has an interval, and is refused for fewer than `min_samples_per_dim` samples per dimension: on Gaussians the
  jackknife is right from 6 on, and far off at 1 (`tests/metrics/test_fid.py`). On EfficientNet-Lite0 features of sharp
  and blurred photographs, projected to 16 or 32 dimensions, its mean over 100 draws was within 1% of the truth at 6
  per dimension, where the plain distance was 23 to 44% too large, and the interval held the truth in 97 of 100.
  Test sets too small for a detector's 1280 or 2048 dimensions are measured in a fixed random subspace instead, which
  sees every direction in part.
- Test and generated images are taken as independent of each other; captions in common make the interval a little wide.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from metrics.shared.bootstrap import check_seed
from metrics.shared.detectors import DetectorSpec
from metrics.shared.estimates import Estimate
from metrics.shared.frechet import frechet_jackknife, random_projection
from metrics.shared.metric import EvidenceMetric, Score


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Settings.

    Attributes:
        detector: `efficientnet-lite0`, `inception` or `random-vgg` (`metrics.shared.detectors`).
        weights_file: Weights of `inception`.
        weights_sha256: sha256 of that file.
        projection: Dimensions that the features are projected to; 0 for none.
        min_samples_per_dim: Least number of images, of either kind, per dimension.
        num_groups: Groups of the jackknife, at least 5.
        seed: Of the projection and of the groups.
    """

    detector: str = "efficientnet-lite0"
    weights_file: str = ""
    weights_sha256: str = ""
    projection: int = 32
    min_samples_per_dim: float = 6.0
    num_groups: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        num_features = self.detector_spec().num_features
        if not 0 <= self.projection < num_features:
            raise ValueError(f"projection must be in [0, {num_features}) for {self.detector}, got {self.projection}")
        if self.min_samples_per_dim <= 0:
            raise ValueError(f"min_samples_per_dim must be above 0, got {self.min_samples_per_dim}")
        if self.num_groups < 5:
            raise ValueError(f"num_groups must be at least 5, got {self.num_groups}")
        check_seed(self.seed)

    def detector_spec(self) -> DetectorSpec:
        """The detector that these settings name."""
        return DetectorSpec(name=self.detector, weights_file=self.weights_file, weights_sha256=self.weights_sha256)


class Metric(EvidenceMetric):
    """Frechet distance.

    Attributes:
        detector: What `reference_features` and `generated_features` must have been made with.
        key: Name of the result.
    """

    inputs = ("reference_features", "generated_features")

    def __init__(self, config: Config) -> None:
        super().__init__(*self.inputs)
        self.config = config
        self.detector = config.detector_spec()
        self.num_dims = config.projection or self.detector.num_features
        self.key = _key(config)

    def update(self, *, reference_features: Tensor, generated_features: Tensor) -> None:
        """Adds features, float32 [n, D] and [k, D]; the counts of a batch may differ, and be 0."""
        for name, features in (("reference_features", reference_features), ("generated_features", generated_features)):
            assert features.ndim == 2 and features.shape[1] == self.detector.num_features, (
                f"{name} must be [n, {self.detector.num_features}], got {tuple(features.shape)}"
            )
            self.append(name, features, torch.float32)

    def score(self) -> Score:
        """The distance, its unbiased estimate, and the distances with each group left out."""
        reference, generated = (self.rows(name) for name in self.inputs)
        self._check_counts(len(reference), len(generated))
        if self.config.projection:
            projection = random_projection(self.detector.num_features, self.num_dims, self.config.seed)
            reference, generated = (rows.double() @ projection.to(rows.device) for rows in (reference, generated))
        result, left_out = frechet_jackknife(reference, generated, self.config.num_groups, self.config.seed)
        n = min(len(reference), len(generated))
        return Score(
            estimates={
                key: Estimate(
                    value=value,
                    low=value - result.half_width,
                    high=value + result.half_width,
                    n=n,
                    interval="jackknife",
                    higher_is_better=False,
                )
                for key, value in ((self.key, result.value), (f"{self.key}_unbiased", result.unbiased))
            },
            per_sample={f"{self.key}_leave_one_group_out": left_out},
            protocol={
                "metric": self.key,
                "estimator": "frechet, covariance over n - 1, delete-a-group jackknife",
                "detector": self.detector.name,
                "detector_sha256": self.detector.digest,
                "resize": f"{self.detector.resize}-{self.detector.input_px}px",
                "projection": self.config.projection,
                "num_groups": self.config.num_groups,
                "num_reference": len(reference),
                "num_generated": len(generated),
                "seed": self.config.seed,
            },
        )

    def _check_counts(self, num_reference: int, num_generated: int) -> None:
        least = int(-(-self.config.min_samples_per_dim * self.num_dims // 1))
        if min(num_reference, num_generated) < least:
            raise ValueError(
                f"{self.key}: {num_reference} test and {num_generated} generated images, but {self.num_dims} "
                f"dimensions need {least} of each (min_samples_per_dim is {self.config.min_samples_per_dim:g}): "
                "set a smaller projection"
            )


def _key(config: Config) -> str:
    if config.detector == "inception" and not config.projection:
        return "fid"
    return f"fd_{config.detector}" + (f"_p{config.projection}" if config.projection else "")
