"""How much better a challenger is in one score, with an interval that holds for few samples too.

Source: Clopper & Pearson 1934, Biometrika 26(4): none of n seen leaves a share of up to 1 - 0.025^(1/n).

The bootstrap of a paired difference knows no other differences than those it has seen. Of hits, which are 0 or 1, most
pairs are equal: 30 pairs without a loss give an interval without width, though one in ten may be lost. So the interval
of hits is never narrower than that of the share of samples that may be otherwise without one having been seen.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metrics.shared.bootstrap import Resampling
from metrics.shared.paired import Paired
from pipelines.shared.comparing import Scored, compare

MAX_SAMPLES_NEEDED = 1_000_000
TAIL = 0.025


@dataclass(frozen=True, slots=True)
class Gain:
    """How much better the challenger is in one score.

    Attributes:
        paired: The difference, in the direction in which the score is better.
        unseen: Share of samples that may be changed though none was seen to be; 0 for values that are not hits.
    """

    paired: Paired
    unseen: float

    @property
    def value(self) -> float:
        """The gain."""
        return self.paired.value

    @property
    def low(self) -> float:
        """Lower end of its 95% interval."""
        return min(self.paired.low, self.value - self.unseen * (1 + self.value))

    @property
    def high(self) -> float:
        """Upper end."""
        return max(self.paired.high, self.value + self.unseen * (1 - self.value))

    @property
    def smallest_detectable(self) -> float:
        """Difference that would be found with a probability of 80%."""
        return max(self.paired.smallest_detectable(), self.unseen)

    def samples_needed(self, distance: float) -> int | None:
        """Units with which a gain this far from a margin would be decided; None where there are none, or too many."""
        needed = self.paired.samples_needed(distance)
        if needed is None:
            return None
        if self.unseen:
            share = abs(distance) / (1 + abs(self.value))
            needed = max(needed, math.ceil(math.log(TAIL) / math.log1p(-share)) if share < 1 else 1)
        return needed if needed <= MAX_SAMPLES_NEEDED else None


def gain_of(champion: Scored, challenger: Scored, score: str, resampling: Resampling) -> Gain | None:
    """How much better the challenger is; None for a score without a paired test.

    Raises:
        ValueError: They cannot be compared.
    """
    challenger.metric(score)
    higher = challenger.document["scores"][score]["higher_is_better"]
    first, second = (champion, challenger) if higher else (challenger, champion)
    paired = compare(first, second, score, resampling)
    return (
        Gain(paired, 1 - TAIL ** (1 / paired.n) if _are_hits((champion, challenger), score) else 0.0)
        if paired
        else None
    )


def _are_hits(both: Sequence[Scored], score: str) -> bool:
    """Whether all values of a score are 0 or 1."""
    columns = [scored.values.get(f"{scored.metric(score)}/{score}") for scored in both]
    return all(column is not None and bool(np.isin(column, (0, 1)).all()) for column in columns)
