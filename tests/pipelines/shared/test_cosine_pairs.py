import numpy as np
import pytest

from pipelines.shared import cosine_pairs as module
from pipelines.shared.cosine_pairs import EmbeddingDuplicates, cosine_pairs, embedding_rows


def packed(rows):
    return [None if row is None else np.asarray(row, dtype="<f2").tobytes() for row in rows]


def clustered(seed, count=80, width=24):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(8, width))
    rows = centres[rng.integers(0, 8, count)] + rng.uniform(0.05, 0.6, (count, 1)) * rng.normal(size=(count, width))
    return embedding_rows(packed(rows))[0]


def found(rows, others, min_cosine):
    pairs = [
        pair
        for left, right in cosine_pairs(rows, others, min_cosine)
        for pair in zip(left.tolist(), right.tolist(), strict=True)
    ]
    assert len(pairs) == len(set(pairs)), "a pair was given twice"
    return set(pairs)


@pytest.mark.parametrize("block_bytes", [1, 4 * 80 * 7, 1 << 26])
@pytest.mark.parametrize("min_cosine", [0.5, 0.9, 0.99])
def test_no_pair_is_missed_and_none_invented_whatever_the_blocks(min_cosine, block_bytes, monkeypatch):
    monkeypatch.setattr(module, "BLOCK_BYTES", block_bytes)
    rows = clustered(0)
    cosines = rows.astype(np.float64) @ rows.T.astype(np.float64)
    assert np.abs(cosines - min_cosine).min() > 1e-6, "no cosine is at the threshold itself"
    expected = {(i, j) for i in range(len(rows)) for j in range(i + 1, len(rows)) if cosines[i, j] >= min_cosine}
    assert found(rows, rows, min_cosine) == expected != set()
    others = clustered(1, 30)
    cosines = rows.astype(np.float64) @ others.T.astype(np.float64)
    assert found(rows, others, min_cosine) == {(int(i), int(j)) for i, j in np.argwhere(cosines >= min_cosine)}


def test_a_pair_at_the_threshold_is_decided_alike_in_any_block(monkeypatch):
    rows, _ = embedding_rows(packed([[3, 4], [4, 3], [3, 4], [0, 5]] * 5))  # 24 / 25 and 20 / 25
    whole = found(rows, rows, 0.96)
    monkeypatch.setattr(module, "BLOCK_BYTES", 1)
    monkeypatch.setattr(module, "PAIR_ROWS", 1)
    assert found(rows, rows, 0.96) == whole


def test_rows_are_made_of_length_one_and_missing_ones_left_out():
    rows, owners = embedding_rows(packed([[3, 4], None, [0, 0], [0, -2]]))
    assert rows.tolist() == [[pytest.approx(0.6), pytest.approx(0.8)], [0, -1]] and owners.tolist() == [0, 3]
    assert embedding_rows([None, b""])[0].shape == (0, 1)


@pytest.mark.parametrize(
    "values,message",
    [
        (packed([[1, 2], [1]]), r"of one width, got rows of \[2, 4\]"),
        ([b"abc"], "of one width"),
        (packed([[1, np.inf]]), "finite"),
    ],
)
def test_what_is_no_embedding_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        embedding_rows(values)


@pytest.mark.parametrize("value", [0.0, 1.1])
def test_settings_are_checked(value):
    with pytest.raises(ValueError, match=r"min_cosine must be in \(0, 1\]"):
        EmbeddingDuplicates(min_cosine=value)
