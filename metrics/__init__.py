"""Metrics: one module per metric, found by module name.

Every plug-in module has a `Config` (frozen, keyword-only dataclass) and a `Metric(config)`, a `torchmetrics.Metric`:

- `inputs`: names of the evidence it is fed with (`metrics.shared.evidence` lists them, with shapes); `update` takes
  them as keyword arguments, in one or many batches. Rows keep their order: batches in the order of the updates, ranks
  in the order of their numbers, each with one consecutive block of the rows (it may be empty).
- `prefix`, where it has one: what the caller puts before each caption that a judge encodes for it.
- `detector`, where `inputs` has features: the `metrics.shared.detectors.DetectorSpec` to make them with.
- `compute() -> dict[str, Estimate]`: every result with its interval and sample count.
- `per_sample() -> dict[str, numpy.ndarray]`: what paired comparisons need, kept beside the score; an array named
  `owner` or `<direction>_owner` tells which values belong to one test sample and must be resampled together.
- `protocol() -> dict[str, str | int | float]`: what two values must share to be compared. Digests of the data, of the
  model and of a judge are added by the caller, who alone knows them.

Metrics know torch and numpy, and nothing of Beam, DVC, shards or params.yaml.
"""
