import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.filters.combination import Config, Filter

ROWS = {"a": np.arange(8) // 4, "b": np.arange(8) // 2 % 2, "c": np.arange(8) % 2}
TRUTH = {name: values.astype(bool) for name, values in ROWS.items()}


def is_set(name):
    return {"module": "score_threshold", "column": name, "min_value": 1.0}


def combined(keep, *rules, **settings):
    return {
        "module": "combination",
        "keep": keep,
        "rules": {f"r{number}": rule for number, rule in enumerate(rules)},
        **settings,
    }


def judged(entry):
    return Filter(Config(**{name: value for name, value in entry.items() if name != "module"}))


def test_all_any_and_none():
    entry = [is_set("a"), is_set("b"), is_set("c")]
    a, b, c = TRUTH.values()
    assert judged(combined("all", *entry)).keep(ROWS).tolist() == (a & b & c).tolist()
    assert judged(combined("any", *entry)).keep(ROWS).tolist() == (a | b | c).tolist()
    assert judged(combined("none", *entry)).keep(ROWS).tolist() == (~(a | b | c)).tolist()


def evaluated(entry):
    if entry["module"] == "score_threshold":
        return TRUTH[entry["column"]]
    inner = [evaluated(rule) for rule in entry["rules"].values()]
    return {"all": np.all, "any": np.any}.get(entry["keep"], lambda rows, axis: ~np.any(rows, axis))(inner, axis=0)


LEAVES = st.sampled_from("abc").map(is_set)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.builds(
        lambda keep, rules: combined(keep, *rules),
        st.sampled_from(["all", "any", "none"]),
        st.lists(inner, min_size=1, max_size=3),
    ),
    max_leaves=8,
)


@given(st.builds(lambda keep, rule: combined(keep, rule), st.sampled_from(["all", "any", "none"]), TREES))
def test_any_tree(entry):
    rule = judged(entry)
    assert rule.keep(ROWS).tolist() == evaluated(entry).tolist()
    assert set(rule.columns) <= set(ROWS)


def test_inner_rules_are_fitted_to_all_rows_as_if_they_stood_alone():
    top = {"module": "score_threshold", "column": "s", "top_frac": 0.25}
    rule = judged(combined("any", combined("all", top), {**top, "column": "t", "top_frac": 0.01}))
    rows = {"s": np.arange(100.0), "t": -np.arange(100.0)}
    assert not rule.is_fitted
    fitted = rule.fitted(rows)
    assert fitted.is_fitted and not rule.is_fitted
    assert fitted.thresholds() == {"r0.r0.min_value": 74.0, "r1.min_value": -1.0}
    assert np.flatnonzero(fitted.keep(rows)).tolist() == [0, 1, *range(74, 100)]


def test_inner_rules_judge_the_same_things():
    words = {"module": "min_words", "min_words": 2}
    with pytest.raises(ValueError, match="samples or all captions, got r0: sample, r1: caption"):
        judged(combined("any", is_set("a"), words))
    assert judged(combined("any", words)).scope == "caption"


@pytest.mark.parametrize(
    "entry,message",
    [
        (combined("any"), "at least one rule"),
        (combined("any", is_set("a"), reason="No Reason"), "reason must be a code"),
        (combined("any", is_set("a"), reason="crawl:x"), "reason must be a code"),
        (combined("any", {"module": "min_word"}), r"rules.r0.module: .*did you mean min_words"),
        (combined("any", {"module": "min_words", "words": 3}), "rules.r0.words is not a setting"),
    ],
)
def test_mistakes_are_named(entry, message):
    with pytest.raises(ValueError, match=message):
        judged(entry)
