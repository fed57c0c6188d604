"""BLEU, ROUGE-L and CIDEr-D of captions that are given as words, as the COCO caption evaluation computes them.

Sources: Papineni et al. 2002, BLEU: a Method for Automatic Evaluation of Machine Translation, section 2.3; Lin 2004,
ROUGE: A Package for Automatic Evaluation of Summaries, eq. 2-4; Vedantam et al. 2015, arXiv:1411.5726, section 5 and
eq. 8-9 (CIDEr-D); Chen et al. 2015, arXiv:1504.00325 (the evaluation); Crochemore et al. 2001, A fast and practical
bit-vector algorithm for the longest common subsequence problem.

Differs from the code of that evaluation:
- BLEU is not smoothed. It adds 1e-15 to matches and 1e-9 to their totals, so that no match at all scores some 1e-4
  there and 0 here; where there are matches the two agree to about 1e-9 over the number of n-grams.
- ROUGE-L of an empty caption is 0. There, an empty text has one word, the empty one, and two of them agree.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from metrics.shared.ngrams import MAX_N, count_ngrams, maxima_by

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Words = Sequence[str]

ROUGE_BETA = 1.2
CIDER_SIGMA = 6.0  # words


@dataclass(frozen=True, slots=True)
class Ngrams:
    """The n-grams of one length, in columns.

    Attributes:
        terms: Their words, joined by spaces.
        written: How often each is in each written caption, int64 [number of images, number of different n-grams].
        references: The same of the references, int64 [number of references, ...].
        most: The largest of these counts among the references of each image, int64 [number of images, ...].
    """

    terms: list[str]
    written: csr_array
    references: csr_array
    most: csr_array

    def images_with(self) -> Ints:
        """Number of images with the n-gram in a reference, [number of different n-grams]."""
        return np.bincount(self.most.indices, minlength=len(self.terms))


class Captions:
    """A written caption of each image, and its references.

    Attributes:
        written: Words of each written caption.
        references: Words of each reference.
        owner: Image of each reference, int64 [number of references].
        lengths: Number of words of each written caption, int64 [number of images].
        ngrams: By n, from 1 to 4.
    """

    def __init__(self, written: Sequence[Words], references: Sequence[Words], owner: Ints) -> None:
        """Counts the n-grams.

        Args:
            written: Words of each written caption, which may be none.
            references: Words of each reference; every image has at least one.
            owner: Image of each reference, int64 [number of references].
        """
        num_images = len(written)
        assert len(references) == len(owner), f"{len(references)} references and {len(owner)} owners"
        assert np.array_equal(np.unique(owner), np.arange(num_images)), "every image has a reference"
        self.written, self.references, self.owner = written, references, owner
        self.lengths = np.array([len(words) for words in written], dtype=np.int64)
        self.ngrams = [
            Ngrams(terms, counts[:num_images], counts[num_images:], maxima_by(counts[num_images:], owner, num_images))
            for terms, counts in count_ngrams([*written, *references])
        ]


def bleu_statistics(captions: Captions) -> Ints:
    """What the BLEU of a set of captions is made of, for each caption; the sums over any set are those of that set.

    Returns:
        int64 [number of images, 10]: by n, matches with the references, each n-gram at most as often as in the one
        reference that has it most; by n, number of n-grams; length of the caption; length of the reference that is
        nearest to it in length, of two the shorter.
    """
    matches = [ngrams.written.minimum(ngrams.most).sum(axis=1) for ngrams in captions.ngrams]
    totals = [np.maximum(captions.lengths - n, 0) for n in range(MAX_N)]
    return np.stack([*matches, *totals, captions.lengths, _nearest_lengths(captions)], axis=1)


def bleu(statistics: NDArray[np.generic]) -> Floats:
    """BLEU-1 to BLEU-4, [..., 4] in [0, 1], of sums or means of `bleu_statistics`, [..., 10]."""
    sums = np.asarray(statistics, dtype=np.float64)
    matches, totals, (length, nearest) = sums[..., :MAX_N], sums[..., MAX_N:-2], np.moveaxis(sums[..., -2:], -1, 0)
    with np.errstate(divide="ignore"):  # the logarithm of no match, and a BLEU of 0
        log_precision = np.log(matches) - np.log(np.where(totals > 0, totals, 1))
    log_brevity = np.minimum(1 - nearest / np.where(length > 0, length, 1), 0)
    return np.exp(np.cumsum(log_precision, axis=-1) / np.arange(1, MAX_N + 1) + log_brevity[..., None])


def rouge_l(captions: Captions) -> Floats:
    """ROUGE-L of each caption, [number of images] in [0, 1].

    The F-measure, beta 1.2, of the best precision and the best recall of the longest common subsequence; the two may
    be with different references, as in the COCO evaluation.
    """
    precision, recall = np.zeros((2, len(captions.written)))
    common_with = [common_subsequence(words) for words in captions.written]
    for words, image in zip(captions.references, captions.owner.tolist(), strict=True):
        common = common_with[image](words)
        if common:
            precision[image] = max(precision[image], common / captions.lengths[image])
            recall[image] = max(recall[image], common / len(words))
    weight = ROUGE_BETA**2
    return (1 + weight) * precision * recall / np.where(recall > 0, recall + weight * precision, 1)


def common_subsequence(words: Words) -> Callable[[Words], int]:
    """A function of other words: the length of the longest subsequence that they have in common with these."""
    places: dict[str, int] = {}
    for place, word in enumerate(words):
        places[word] = places.get(word, 0) | 1 << place
    everywhere = (1 << len(words)) - 1

    def length(others: Words) -> int:
        unmatched = everywhere  # bit i: one more of these words, the i-th, makes the subsequence no longer
        for word in others:
            here = unmatched & places.get(word, 0)
            unmatched = (unmatched + here | unmatched - here) & everywhere
        return len(words) - unmatched.bit_count()

    return length


def cider_d(captions: Captions, idfs: Sequence[Floats]) -> Floats:
    """CIDEr-D of each caption, [number of images] in [0, 10].

    The mean over references, and over n, of the cosine of n-gram counts weighted by their inverse document frequency,
    with each count of the caption clipped at that of the reference, times exp(-(difference in words)^2 / (2 * 6^2)).
    A text of fewer than n words has no n-gram, and a cosine of 0: a caption of one word reaches 2.5 and no more.

    Args:
        captions: A written caption of each image, and its references.
        idfs: Inverse document frequency by n, [number of different n-grams] each.
    """
    owner = captions.owner
    cosines = np.zeros(len(owner))
    for ngrams, idf in zip(captions.ngrams, idfs, strict=True):
        squared = np.square(idf)
        norms = np.sqrt(ngrams.written.power(2) @ squared)[owner] * np.sqrt(ngrams.references.power(2) @ squared)
        overlap = ngrams.written[owner].minimum(ngrams.references).multiply(ngrams.references) @ squared
        cosines += overlap / np.where(norms > 0, norms, 1) / MAX_N
    lengths = np.array([len(words) for words in captions.references])
    penalty = np.exp(-np.square(captions.lengths[owner] - lengths) / (2 * CIDER_SIGMA**2))
    return 10 * np.bincount(owner, weights=cosines * penalty) / np.bincount(owner)


def _nearest_lengths(captions: Captions) -> Ints:
    lengths = np.array([len(words) for words in captions.references])
    order = np.lexsort((lengths, np.abs(lengths - captions.lengths[captions.owner]), captions.owner))
    _, first = np.unique(captions.owner[order], return_index=True)
    return lengths[order][first]
