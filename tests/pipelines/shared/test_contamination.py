import itertools

import numpy as np
import pytest

from pipelines.shared.contamination import Decontamination, Texts, near_embeddings, near_hashes, near_texts
from pipelines.shared.minhash import TextDuplicates


def test_hashes_near_a_test_samples():
    rng = np.random.default_rng(0)
    base = rng.integers(0, 2**64, 40, dtype=np.uint64)
    hashes = np.concatenate([base, base ^ np.uint64(0b111), base ^ np.uint64(0b11111)])
    owners, is_test = np.arange(120), np.arange(120) < 40
    is_test[:20] = False
    expected = [
        not is_test[i] and any(is_test[j] and int(hashes[i] ^ hashes[j]).bit_count() <= 3 for j in range(120))
        for i in range(120)
    ]
    assert near_hashes(hashes, owners, is_test, 3).tolist() == expected
    assert sum(expected) == 20


def test_one_near_pair_among_many_is_enough():
    """Many samples look alike, and one of them is of the test split: pairs come in blocks in which samples repeat."""
    rng = np.random.default_rng(2)
    hashes = np.uint64(1) << rng.integers(0, 20, 60).astype(np.uint64)
    is_test = np.arange(60) == 31
    assert near_hashes(hashes, np.arange(60), is_test, 2).tolist() == [row != 31 for row in range(60)]
    texts = [f"a red fox in the snow on the hill {number}" for number in range(60)]
    codes = np.arange(60)
    assert near_texts(Texts(texts, codes, codes), is_test, TextDuplicates(), 0.7).sum() == 59


def test_a_clip_is_near_by_either_frame():
    hashes = np.array([5, 2**63, 5], dtype=np.uint64)
    assert near_hashes(hashes, np.array([0, 0, 1]), np.array([False, True]), 0).tolist() == [True, False]


def test_embeddings_near_a_test_samples():
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(60, 4)).astype("<f2")
    is_test = np.arange(60) % 3 == 0
    values = [None if row == 7 else rows[row].tobytes() for row in range(60)]
    unit = rows / np.linalg.norm(rows.astype(float), axis=1, keepdims=True)
    expected = (unit @ unit[is_test].T >= 0.95).any(axis=1) & ~is_test
    expected[7] = False
    assert near_embeddings(values, is_test, 0.95).tolist() == expected.tolist()
    assert 0 < expected.sum() < 40
    assert not near_embeddings([None] * 3, np.array([True, False, False]), 0.5).any()


def test_texts_near_a_test_samples():
    unique = ["a red fox in the snow", "a red fox in the snows", "quite another text", "a blue bird on a branch"]
    texts = Texts(unique, codes=np.array([0, 1, 2, 3, 3, 2]), owners=np.array([0, 1, 1, 2, 3, 4]))
    is_test = np.array([True, False, False, True, False])
    assert near_texts(texts, is_test, TextDuplicates(), 0.8).tolist() == [False, True, True, False, False]
    assert near_texts(texts, is_test, TextDuplicates(), 1.0).tolist() == [False, False, True, False, False]
    for turned in itertools.permutations(range(4)):
        places = np.argsort(turned)
        again = Texts([unique[place] for place in turned], places[texts.codes], texts.owners)
        assert near_texts(again, is_test, TextDuplicates(), 0.8).tolist() == [False, True, True, False, False]


@pytest.mark.parametrize("change", [{"radius": 9}, {"min_cosine": 0.0}, {"min_jaccard": 1.5}])
def test_settings_are_checked(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        Decontamination(**change)
