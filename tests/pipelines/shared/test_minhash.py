import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.shared import minhash
from pipelines.shared.minhash import TextDuplicates, jaccard, jaccard_pairs, shingles, signatures

WORDS = ("red", "fox", "jumps", "over", "lazy", "dog", "near", "river", "bank", "morning", "light", "of", "the", "old")


def grams(text, ngram):
    return {text[start : start + ngram] for start in range(max(1, len(text) - ngram + 1))}


def similarity(one, other, ngram):
    first, second = grams(one, ngram), grams(other, ngram)
    return len(first & second) / len(first | second)


def captions(seed, count):
    """Sentences, and for each one a copy with a few letters or words changed."""
    rng = np.random.default_rng(seed)
    texts = []
    for _ in range(count):
        words = rng.choice(WORDS, rng.integers(5, 14)).tolist()
        texts.append(" ".join(words))
        for _ in range(rng.integers(1, 4)):
            words[rng.integers(len(words))] += str(rng.choice(["s", "", " again"]))
        texts.append(" ".join(words))
    return list(dict.fromkeys(texts))


def found(texts, given):
    pairs = [
        pair for left, right in jaccard_pairs(texts, given) for pair in zip(left.tolist(), right.tolist(), strict=True)
    ]
    assert len(pairs) == len(set(pairs)), "a pair was given twice"
    return set(pairs)


@pytest.mark.parametrize("ngram", [1, 3, 5])
@given(st.lists(st.text("ab cé🐢", min_size=1, max_size=12), min_size=2, max_size=6))
@settings(max_examples=30, deadline=None)
def test_similarity_is_that_of_sets(ngram, texts):
    pairs = np.array(list(itertools.combinations(range(len(texts)), 2)))
    values = jaccard(shingles(texts, ngram), pairs[:, 0], pairs[:, 1])
    assert values.tolist() == [pytest.approx(similarity(texts[i], texts[j], ngram)) for i, j in pairs.tolist()]


@pytest.mark.parametrize("block", [50, 1 << 18])
def test_no_pair_is_invented_and_the_stated_share_found(block, monkeypatch):
    monkeypatch.setattr(minhash, "BLOCK", block)
    texts = captions(0, 150)
    given = TextDuplicates(min_jaccard=0.7)
    expected = {
        (i, j) for i, j in itertools.combinations(range(len(texts)), 2) if similarity(texts[i], texts[j], 5) >= 0.7
    }
    assert len(expected) > 50
    assert found(texts, given) == expected, "a pair at 0.7 is missed with probability 1.5e-4"


def test_recall_is_as_stated_where_it_is_low():
    """Few bands: of pairs of each similarity the stated share is found, up to five standard errors and 1 %."""
    texts = captions(1, 200)
    given = TextDuplicates(min_jaccard=0.3, num_bands=3, rows_per_band=4)
    pairs = found(texts, given)
    left, right = np.triu_indices(len(texts), 1)
    values = jaccard(shingles(texts, given.ngram), left, right).tolist()
    all_pairs = dict(zip(zip(left.tolist(), right.tolist(), strict=True), values, strict=True))
    for low, high in ((0.3, 0.5), (0.5, 0.7), (0.7, 0.9)):
        inside = {pair: value for pair, value in all_pairs.items() if low <= value < high}
        stated = np.array([given.recall(value) for value in inside.values()])
        share = sum(pair in pairs for pair in inside) / len(inside)
        error = np.sqrt((stated * (1 - stated)).sum()) / len(inside)
        assert len(inside) > 50 and abs(share - stated.mean()) < 5 * error + 0.01


def test_minima_agree_as_often_as_sets_do():
    texts = ["a quick brown fox jumps over it", "a quick brown fox jumps over me"]
    minima = signatures(shingles(texts, 3), 4000)
    share = (minima[0] == minima[1]).mean()
    assert share == pytest.approx(similarity(*texts, 3), abs=4 * 0.5 / 4000**0.5)


def test_the_order_of_texts_does_not_matter():
    texts = captions(2, 60)
    order = np.random.default_rng(0).permutation(len(texts))
    turned = found([texts[place] for place in order], TextDuplicates(min_jaccard=0.6))
    back = {tuple(sorted((int(order[i]), int(order[j])))) for i, j in turned}
    assert back == found(texts, TextDuplicates(min_jaccard=0.6))


def test_no_texts_and_one():
    assert found([], TextDuplicates()) == found(["a"], TextDuplicates()) == set()
    with pytest.raises(AssertionError, match="empty text"):
        found(["a", ""], TextDuplicates())


@pytest.mark.parametrize(
    "change", [{"min_jaccard": 0.0}, {"min_jaccard": 1.1}, {"ngram": 0}, {"num_bands": 0}, {"rows_per_band": 0}]
)
def test_settings_are_checked(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        TextDuplicates(**change)
