import copy
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.shared.agreeing import OUTCOMES, Agreement, agreements, count, is_rounding


def document(value: float = 0.5, low: float = 0.4, high: float = 0.6, **about: Any) -> dict[str, Any]:
    score = {"value": value, "low": low, "high": high, "n": 40, "interval": "bootstrap", "higher_is_better": True}
    return {
        "evaluation": "e",
        "samples_sha256": "s",
        "judge_sha256": "j",
        "seed": 0,
        "groups": {"retrieval": ["recall"]},
        "protocols": {"retrieval": {"estimator": "exact", "detector": "judge"}},
        "scores": {"recall": score},
        **about,
    }


def outcome(one: dict[str, Any] | None, other: dict[str, Any] | None) -> str:
    (found,) = agreements(one, other)
    return found.outcome


def test_outcomes_by_value() -> None:
    assert outcome(document(), document()) == "equal"
    assert outcome(document(), document(0.5 * (1 + 1e-7))) == "rounding"
    assert outcome(document(), document(0.5 * (1 + 2e-6))) == "inside"
    assert outcome(document(), document(0.6)) == "inside", "the ends belong to it"
    assert outcome(document(), document(0.61)) == "beyond"
    assert outcome(document(), document(0.39)) == "beyond"


def test_an_interval_that_moved_is_no_rounding() -> None:
    assert outcome(document(), document(high=0.6001)) == "inside"


def test_what_rounding_left_of_a_zero() -> None:
    assert outcome(document(0.0, 0.0, 0.0), document(1e-15, 0.0, 1e-15)) == "rounding"
    assert outcome(document(0.0, 0.0, 0.0), document(1e-9, 0.0, 1e-9)) == "beyond"


def test_only_in_one_of_them() -> None:
    assert outcome(None, document()) == "only here"
    assert outcome(document(), None) == "only published"
    other = document()
    other["scores"] = {}
    assert outcome(document(), other) == "only published"


@pytest.mark.parametrize(
    ("about", "field"),
    [
        ({"samples_sha256": "t"}, "samples_sha256"),
        ({"seed": 1}, "seed"),
        ({"protocols": {"retrieval": {"estimator": "other", "detector": "judge"}}}, "estimator"),
    ],
)
def test_values_of_other_protocols_are_not_compared(about: dict[str, Any], field: str) -> None:
    (found,) = agreements(document(), document(0.9, **about))
    assert (found.outcome, found.differs, found.difference) == ("other protocol", (field,), None)


def test_another_number_of_samples_is_another_protocol() -> None:
    other = copy.deepcopy(document())
    other["scores"]["recall"]["n"] = 41
    assert outcome(document(), other) == "other protocol"


def test_a_judge_that_was_trained_again_is_compared() -> None:
    assert outcome(document(), document(0.51, judge_sha256="k")) == "inside"


def test_counts_name_every_outcome() -> None:
    found = [*agreements(document(), document()), *agreements(document(), document(0.9))]
    assert count(found) == dict.fromkeys(OUTCOMES, 0) | {"equal": 1, "beyond": 1}


def test_the_share_is_in_half_widths() -> None:
    (found,) = agreements(document(), document(0.55))
    assert found.difference == pytest.approx(0.05) and found.share == pytest.approx(0.5)
    assert Agreement(row="x", outcome="beyond", published=1.0, low=1.0, high=1.0, here=2.0).share == math.inf


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
def test_rounding_goes_both_ways(first: float, second: float) -> None:
    assert is_rounding(first, second) == is_rounding(second, first)
    assert is_rounding(first, first)
