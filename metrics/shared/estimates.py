"""A value that is never without its interval."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """One result of a metric.

    Attributes:
        value: The point value that is published.
        low: Lower end of the 95% interval.
        high: Upper end of the 95% interval.
        n: Number of independent units (images, clips) that it was computed from.
        interval: How the interval was made: `bootstrap` or `jackknife`.
        higher_is_better: Direction of improvement.
    """

    value: float
    low: float
    high: float
    n: int
    interval: str
    higher_is_better: bool

    def __post_init__(self) -> None:
        if self.interval not in {"bootstrap", "jackknife"}:
            raise ValueError(f"interval must be 'bootstrap' or 'jackknife', got {self.interval!r}")

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)
