"""What metrics of detector features have in common: settings, the check of what they are fed with, their intervals.

Source: Kott 2001, The Delete-a-Group Jackknife, Journal of Official Statistics 17(4) (the groups of the intervals).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit, logit
from torch import Tensor

from metrics.shared.bootstrap import check_seed, jackknife, proportion_estimate
from metrics.shared.detectors import DetectorSpec
from metrics.shared.estimates import Estimate
from metrics.shared.metric import EvidenceMetric

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class DetectorSettings:
    """Which network the features are made with, and the seed.

    Attributes:
        detector: One of `metrics.shared.detectors.DETECTORS`.
        architecture: Of `open-clip` only: an architecture of open_clip, such as `ViT-B-32`.
        weights_file: Weights, for a detector that needs a file.
        weights_sha256: sha256 of that file.
        resize: One of `metrics.shared.resizing.RULES`; empty for the one that the detector's literature uses.
        seed: Of every random choice of the metric, at least 0.
    """

    detector: str = "efficientnet-lite0"
    architecture: str = ""
    weights_file: str = ""
    weights_sha256: str = ""
    resize: str = ""
    seed: int = 0

    def __post_init__(self) -> None:
        self.detector_spec()
        check_seed(self.seed)

    def detector_spec(self) -> DetectorSpec:
        """The detector that these settings name.

        Raises:
            ValueError: There is no such detector, or its weights are not named as they must be.
        """
        return DetectorSpec(
            name=self.detector,
            architecture=self.architecture,
            weights_file=self.weights_file,
            weights_sha256=self.weights_sha256,
            resize=self.resize,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupedSettings(DetectorSettings):
    """The same for a metric with a delete-a-group jackknife.

    Attributes:
        num_groups: Groups of the jackknife, at least 5.
    """

    num_groups: int = 10

    def __post_init__(self) -> None:
        DetectorSettings.__post_init__(self)
        if self.num_groups < 5:
            raise ValueError(f"num_groups must be at least 5, got {self.num_groups}")


class FeatureMetric(EvidenceMetric):
    """A metric whose evidence are rows of features, with a delete-a-group jackknife.

    Attributes:
        config: As given.
        detector: What the features must have been made with.
    """

    config: GroupedSettings

    def __init__(self, config: GroupedSettings) -> None:
        super().__init__(*self.inputs)
        self.config = config
        self.detector = config.detector_spec()

    def add(self, **features: Tensor) -> None:
        """Adds float32 [n, D] rows to the states of these names; the counts may differ, and be 0."""
        for name, rows in features.items():
            assert rows.ndim == 2 and rows.shape[1] == self.detector.num_features, (
                f"{name} must be [n, {self.detector.num_features}], got {tuple(rows.shape)}"
            )
            self.append(name, rows, torch.float32)

    def shared_protocol(self) -> dict[str, str | int | float]:
        """What the protocol says of the detector, the groups and the number of rows of each kind."""
        architecture = {"architecture": self.detector.architecture} if self.detector.architecture else {}
        return {
            "detector": self.detector.name,
            **architecture,
            "detector_sha256": self.detector.digest,
            "resize": f"{self.detector.resize}-{self.detector.input_px}px",
            "num_groups": self.config.num_groups,
            **{f"num_{name.removesuffix('_features')}": len(self.rows(name)) for name in self.inputs},
            "seed": self.config.seed,
        }


def jackknife_estimate(
    value: float, left_out: Floats, *, n: int, higher_is_better: bool, bounds: Literal["none", "cut", "logit"] = "none"
) -> Estimate:
    """A value with the interval of a delete-a-group jackknife.

    Args:
        value: Of everything.
        left_out: Values with each group left out, [g].
        n: Number of independent units.
        higher_is_better: Direction of improvement.
        bounds: `none`, or for a share in [0, 1] how its interval keeps within: `cut` there, or symmetric in the `logit`
            of the share. If all of the n units hold, or none does, groups cannot differ, and the interval of a share is
            the exact one of so many trials.
    """
    if bounds != "none" and value in (0, 1):
        return proportion_estimate(value, left_out, n=n, higher_is_better=higher_is_better)
    half_width = jackknife(value, left_out).half_width
    if bounds == "logit":
        slope = value * (1 - value)
        low, high = (float(expit(logit(value) + sign * half_width / slope)) for sign in (-1, 1))
    else:
        low, high = value - half_width, value + half_width
    return Estimate(
        value=float(value),
        low=max(0.0, low) if bounds == "cut" else low,
        high=min(1.0, high) if bounds == "cut" else high,
        n=n,
        interval="jackknife",
        higher_is_better=higher_is_better,
    )
