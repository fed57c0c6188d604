"""n-grams of many texts as sparse matrices of counts, one per length, with a common vocabulary.

Words become numbers in alphabetical order, and an n-gram the pair of the number of its first n - 1 words and that of
its last, so that columns do not depend on the order of the texts.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

Ints = NDArray[np.int64]

MAX_N = 4  # of BLEU and CIDEr


def count_ngrams(texts: Sequence[Sequence[str]], max_n: int = MAX_N) -> Iterator[tuple[list[str], csr_array]]:
    """The n-grams of texts for n = 1 to `max_n`.

    Args:
        texts: Words of each text; a text may be empty.
        max_n: At least 1.

    Yields:
        For each n: the different n-grams, words joined by spaces, and how often each is in each text, int64 [number of
        texts, number of different n-grams].
    """
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    words = [word for text in texts for word in text]
    vocabulary = sorted(set(words))
    number_of = {word: number for number, word in enumerate(vocabulary)}
    number = np.fromiter((number_of[word] for word in words), dtype=np.int64, count=len(words))
    row = np.repeat(np.arange(len(texts)), lengths)
    end = np.repeat(np.cumsum(lengths), lengths)  # of the text that a word is in
    start, code, terms = np.arange(len(words)), number, vocabulary
    for n in range(1, max_n + 1):
        if n > 1:
            whole = start + n <= end[start]
            start = start[whole]
            pairs, code = np.unique(code[whole] * len(vocabulary) + number[start + n - 1], return_inverse=True)
            terms = [
                f"{terms[pair // len(vocabulary)]} {vocabulary[pair % len(vocabulary)]}" for pair in pairs.tolist()
            ]
        ones = np.ones(len(start), dtype=np.int64)
        yield terms, csr_array((ones, (row[start], code)), shape=(len(texts), len(terms)))


def maxima_by(counts: csr_array, owner: Ints, num_owners: int) -> csr_array:
    """The largest count in each column among the rows of each owner, int64 [num_owners, columns].

    Args:
        counts: int64 [rows, columns], none below 0.
        owner: int64 [rows], in [0, num_owners).
        num_owners: Number of rows of the result.
    """
    cells = counts.tocoo()
    keys = owner[cells.row] * counts.shape[1] + cells.col
    order = np.argsort(keys, kind="stable")
    keys, first = np.unique(keys[order], return_index=True)
    values = np.maximum.reduceat(cells.data[order], first) if len(first) else cells.data
    return csr_array((values, np.divmod(keys, max(1, counts.shape[1]))), shape=(num_owners, counts.shape[1]))
