from collections import Counter

import numpy as np
import pytest

from pipelines.filters.max_caption_count import Config, Filter
from pipelines.shared.splits import normalise_caption


def columns(*texts):
    return {"caption_text": np.array(texts, dtype=object)}


def test_equal_captions_are_counted_whatever_their_letters():
    texts = columns("Red fox!", "red  fox", "RED-FOX", "blue fox", "red")
    fitted = Filter(Config(max_count=2)).fitted(texts)
    assert fitted.keep(texts).tolist() == [False, False, False, True, True]
    assert fitted.thresholds() == {"max_count": 2.0, "num_frequent": 1.0}
    assert Filter(Config(max_count=3)).fitted(texts).keep(texts).all()


@pytest.mark.parametrize("max_count", [1, 2, 5, 20])
def test_counts_are_those_of_a_counter(max_count):
    rng = np.random.default_rng(max_count)
    texts = [f"text {number}" for number in rng.zipf(1.5, 400) % 60]
    counts = Counter(map(normalise_caption, texts))
    fitted = Filter(Config(max_count=max_count)).fitted(columns(*texts))
    assert fitted.keep(columns(*texts)).tolist() == [counts[normalise_caption(text)] <= max_count for text in texts]


def test_a_shard_is_judged_by_the_counts_of_all():
    fitted = Filter(Config(max_count=1)).fitted(columns("a", "b", "a"))
    assert fitted.keep(columns("a", "c")).tolist() == [False, True]


def test_it_must_be_fitted_first():
    rule = Filter(Config(max_count=1))
    assert not rule.is_fitted
    with pytest.raises(AssertionError, match="must be fitted"):
        rule.keep(columns("a"))
    with pytest.raises(ValueError, match="max_count must be at least 1, got 0"):
        Config(max_count=0)
