"""Settings of an evaluation are checked."""

import pytest

from pipelines.shared.evaluation.settings import EvaluationEntry
from pipelines.shared.params import build

GOOD = {"model": "clip", "pack": "web", "judge": "clip", "metrics": ("retrieval",)}


def test_good() -> None:
    assert build(EvaluationEntry, GOOD, "evaluations.clip").origins == ("human",)


@pytest.mark.parametrize(
    "change", [{"origins": ("robot",)}, {"metrics": ()}, {"num_generated": 0}, {"batchsize": 3}, {"pack": 3}]
)
def test_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"params\.yaml: evaluations\.clip"):
        build(EvaluationEntry, GOOD | change, "evaluations.clip")
