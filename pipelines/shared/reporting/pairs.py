"""Two evaluations compared sample by sample, score by score, with verdicts that allow for the number of scores."""

from collections.abc import Sequence
from dataclasses import dataclass

from metrics.shared.bootstrap import Resampling
from metrics.shared.paired import LEVEL, Paired, holm
from pipelines.shared.comparing import Scored, compare


@dataclass(frozen=True, kw_only=True, slots=True)
class PairedDifference:
    """One score of two evaluations.

    Attributes:
        metric: Name of the score.
        first: Value of the evaluation that is compared with.
        second: Value of the evaluation that is compared.
        difference: Second minus first.
        low: Lower end of the difference's 95% interval.
        high: Upper end.
        p_value: Of "there is no difference", after Holm's correction for the scores of the pair.
        smallest_detectable: What a single test at 5% would find with a probability of 80%.
        higher_is_better: Direction of improvement.
    """

    metric: str
    first: float
    second: float
    difference: float
    low: float
    high: float
    p_value: float
    smallest_detectable: float
    higher_is_better: bool

    @property
    def verdict(self) -> str:
        """`better`, `worse` or `no difference shown`, of the second."""
        if self.p_value > LEVEL:
            return "no difference shown"
        return "better" if (self.difference > 0) == self.higher_is_better else "worse"


def paired_differences(
    first: Scored, second: Scored, columns: Sequence[str], resampling: Resampling
) -> list[PairedDifference]:
    """Differences of those scores in `columns` that both have and that are kept by unit or by group.

    Raises:
        ValueError: The two cannot be compared: names the first field in which samples, judge or protocol differ.
    """
    found: dict[str, Paired] = {}
    for name in columns:
        if name in first.document["scores"] and name in second.document["scores"]:
            try:
                paired = compare(first, second, name, resampling)
            except ValueError as error:
                raise ValueError(f"params.yaml: report.pairs: {name}: {error}") from error
            if paired:
                found[name] = paired
    adjusted = holm([paired.p_value() for paired in found.values()])
    return [
        PairedDifference(
            metric=name,
            first=first.document["scores"][name]["value"],
            second=second.document["scores"][name]["value"],
            difference=paired.value,
            low=paired.low,
            high=paired.high,
            p_value=p_value,
            smallest_detectable=paired.smallest_detectable(),
            higher_is_better=first.document["scores"][name]["higher_is_better"],
        )
        for (name, paired), p_value in zip(found.items(), adjusted, strict=True)
    ]
