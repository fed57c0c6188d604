"""Metrics: one module per metric, found by module name.

Every plug-in module has a `Config` (frozen, keyword-only dataclass) and a `Metric(config)`, a `torchmetrics.Metric`:

- `inputs`: names of the evidence it is fed with (`metrics.shared.evidence` lists them, with shapes); `update` takes
  them as keyword arguments, in one or many batches.
- `compute() -> dict[str, Estimate]`: every result with its interval and sample count.
- `per_sample() -> dict[str, numpy.ndarray]`: what paired comparisons need, kept beside the score.
- `protocol() -> dict[str, str | int | float]`: what two values must share to be compared.

Metrics know torch and numpy, and nothing of Beam, DVC, shards or params.yaml.
"""
