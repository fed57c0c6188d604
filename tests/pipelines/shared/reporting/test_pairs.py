"""Two evaluations compared score by score."""

import pytest

from metrics.shared.bootstrap import Resampling
from metrics.shared.paired import holm
from pipelines.shared.comparing import compare
from pipelines.shared.reporting.pairs import PairedDifference, paired_differences
from tests.pipelines.shared.reporting.world import FD, MEDIAN, RECALL, scored

RESAMPLING = Resampling(num_resamples=200, seed=1)


def test_differences_are_those_of_compare() -> None:
    first, second = scored("a", recall=0.2), scored("b", recall=0.8)
    found = paired_differences(first, second, (RECALL, MEDIAN, FD), RESAMPLING)
    assert [each.metric for each in found] == [RECALL, FD], "of a median nothing is kept"
    alone = [compare(first, second, name, RESAMPLING) for name in (RECALL, FD)]
    for each, pair, adjusted in zip(found, alone, holm([pair.p_value() for pair in alone if pair]), strict=True):
        assert pair and (each.difference, each.low, each.high) == (pair.value, pair.low, pair.high)
        assert each.p_value == adjusted >= pair.p_value()
    assert (found[0].first, found[0].second, found[0].verdict) == (0.2, 0.8, "better")
    assert found[1].verdict == "no difference shown"


def test_what_cannot_be_compared_is_refused() -> None:
    other = scored("other", about={"samples_sha256": "d" * 64})
    with pytest.raises(ValueError, match=r"report\.pairs: .*samples_sha256"):
        paired_differences(scored("a"), other, (RECALL,), RESAMPLING)


@pytest.mark.parametrize(
    ("difference", "p_value", "higher_is_better", "verdict"),
    [
        (0.1, 0.01, True, "better"),
        (0.1, 0.01, False, "worse"),
        (-0.1, 0.01, False, "better"),
        (-0.1, 0.06, False, "no difference shown"),
    ],
)
def test_verdicts(difference: float, p_value: float, higher_is_better: bool, verdict: str) -> None:
    each = PairedDifference(
        metric="m",
        first=0,
        second=difference,
        difference=difference,
        low=0,
        high=0,
        p_value=p_value,
        smallest_detectable=0.1,
        higher_is_better=higher_is_better,
    )
    assert each.verdict == verdict
