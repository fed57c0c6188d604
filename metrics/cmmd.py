"""MMD of normalised embeddings with a Gaussian kernel, the statistic of CMMD.

Source: Jayasumana et al. 2024, arXiv:2401.09603: MMD^2 of embeddings of length 1 with the kernel
exp(-|x - y|^2 / (2 sigma^2)), sigma = 10, times 1000.

Keys: `cmmd` and `cmmd_unbiased` only for what the paper uses, OpenAI's CLIP ViT-L/14 at 336 px and images resized by
the rule `torch-bicubic`; otherwise `mmd_rbf_<detector>` and `mmd_rbf_<detector>_unbiased`.

- `<key>` is what the published code computes, the biased estimate (V-statistic), in which each image is compared with
  itself as well. It grows as the sets shrink: at 100 images of each, the part that is bias may be all of it. Its
  interval is about the value that one should expect at these counts.
- `<key>_unbiased` is the U-statistic, about 0 for a perfect model and sometimes below.

Differs from the published code: all pairs in blocks, not several n x n matrices at once; float64, because at this sigma
all values of the kernel lie within 0.02 of 1; sets of different size; intervals, by a delete-a-group jackknife.
"""

from dataclasses import dataclass

from torch import Tensor

from metrics.shared.detecting import FeatureMetric, GroupedSettings, jackknife_estimate
from metrics.shared.kernels import mmd_sums
from metrics.shared.metric import Score, unit_rows

SIGMA = 10.0
SCALE = 1000.0
ARCHITECTURE = "ViT-L-14-336-quickgelu"  # OpenAI's weights are the only published ones of it
RESIZE = "torch-bicubic"


@dataclass(frozen=True, kw_only=True, slots=True)
class Config(GroupedSettings):
    """Settings: those of the detector and of the jackknife."""


class Metric(FeatureMetric):
    """Gaussian-kernel MMD of the normalised features of test and generated images.

    Attributes:
        key: Name of the result.
    """

    inputs = ("reference_features", "generated_features")

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        is_published = self.detector.architecture == ARCHITECTURE and self.detector.resize == RESIZE
        self.key = "cmmd" if is_published else f"mmd_rbf_{self.detector.label}"

    def update(self, *, reference_features: Tensor, generated_features: Tensor) -> None:
        """Adds features, float32 [n, D] and [k, D], of any length but 0; the counts of a batch may differ, and be 0."""
        self.add(reference_features=reference_features, generated_features=generated_features)

    def score(self) -> Score:
        """Both estimates, and both with each group left out."""
        reference, generated = (unit_rows(self.rows(name)) for name in self.inputs)
        sums = mmd_sums(reference, generated, gaussian_kernel, self.config.num_groups, self.config.seed)
        results = {
            key: (SCALE * value, SCALE * left_out)
            for key, (value, left_out) in ((self.key, sums.biased()), (f"{self.key}_unbiased", sums.unbiased()))
        }
        n = min(len(reference), len(generated))
        return Score(
            estimates={
                key: jackknife_estimate(*result, n=n, higher_is_better=False) for key, result in results.items()
            },
            per_sample={f"{key}_leave_one_group_out": left_out for key, (_, left_out) in results.items()},
            protocol={
                "metric": self.key,
                "estimator": f"{SCALE:g} MMD^2, Gaussian of sigma {SIGMA:g}, unit rows; V- and U-statistic",
                **self.shared_protocol(),
            },
        )


def gaussian_kernel(dots: Tensor) -> Tensor:
    """exp(-|x - y|^2 / (2 sigma^2)) of rows of length 1 as a function of x.y, in place."""
    return dots.sub_(1).div_(SIGMA**2).exp_()
