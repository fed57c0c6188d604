from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics.shared.ngrams import count_ngrams, maxima_by

TEXTS = st.lists(st.lists(st.sampled_from(["a", "b", "cc", "é"]), max_size=8), max_size=6)


@given(TEXTS, st.integers(1, 5))
def test_counts_are_those_of_counting(texts: list[list[str]], max_n: int) -> None:
    orders = list(count_ngrams(texts, max_n))
    assert len(orders) == max_n
    for n, (terms, counts) in enumerate(orders, start=1):
        assert counts.shape == (len(texts), len(terms)) and len(set(terms)) == len(terms)
        for text, row in zip(texts, counts.toarray(), strict=True):
            expected = Counter(" ".join(text[start : start + n]) for start in range(len(text) - n + 1))
            assert {term: count for term, count in zip(terms, row, strict=True) if count} == expected


def test_columns_do_not_depend_on_the_order_of_texts() -> None:
    texts = [["a", "dog"], ["a", "cat", "a", "dog"], []]
    for (terms, counts), (others, turned) in zip(count_ngrams(texts), count_ngrams(texts[::-1]), strict=True):
        assert terms == others
        assert np.array_equal(counts.toarray(), turned.toarray()[::-1])


@given(TEXTS, st.data())
def test_maxima_are_those_of_rows(texts: list[list[str]], data: st.DataObject) -> None:
    owner = np.array(data.draw(st.lists(st.integers(0, 3), min_size=len(texts), max_size=len(texts))), dtype=np.int64)
    for _, counts in count_ngrams(texts, 2):
        rows = counts.toarray()
        expected = [rows[owner == one].max(axis=0, initial=0) for one in range(4)]
        assert np.array_equal(maxima_by(counts, owner, 4).toarray(), np.array(expected).reshape(4, -1))


@pytest.mark.parametrize("texts", [[], [[]], [[], []]])
def test_no_words_at_all(texts: list[list[str]]) -> None:
    for terms, counts in count_ngrams(texts):
        assert terms == [] and counts.shape == (len(texts), 0)
        assert maxima_by(counts, np.zeros(len(texts), np.int64), 2).shape == (2, 0)
