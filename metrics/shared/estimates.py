"""A value that is never without its interval."""

from typing import Any, Literal, NamedTuple


class Estimate(NamedTuple):
    """One result of a metric.

    A named tuple and not a frozen dataclass, because torchmetrics refuses to pass the latter through `compute`.

    Attributes:
        value: The point value that is published.
        low: Lower end of the 95% interval.
        high: Upper end of the 95% interval.
        n: Number of independent units (images, clips) that it was computed from.
        interval: How the interval was made.
        higher_is_better: Direction of improvement.
    """

    value: float
    low: float
    high: float
    n: int
    interval: Literal["bootstrap", "jackknife", "exact"]
    higher_is_better: bool

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return self._asdict()
