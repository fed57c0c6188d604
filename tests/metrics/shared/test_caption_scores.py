"""BLEU, ROUGE-L and CIDEr-D against the COCO caption evaluation on the same words, other peers and closed forms."""

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.bleu.bleu_scorer import BleuScorer
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge
from torchmetrics.functional.text import bleu_score

from metrics.shared.caption_scores import Captions, bleu, bleu_statistics, cider_d, common_subsequence, rouge_l
from metrics.shared.document_frequency import idf

WORDS = [f"w{number}" for number in range(60)]
SENTENCES = st.lists(st.sampled_from("abcde"), max_size=9)


def sets(num_images: int = 300, seed: int = 0) -> tuple[list[list[str]], list[list[list[str]]]]:
    """Written captions of 0 to 14 words, and 1 to 6 references of each image that share words with them."""
    rng = np.random.default_rng(seed)
    written, references = [], []
    for _ in range(num_images):
        base = rng.choice(WORDS, size=14, p=np.arange(60, 0, -1) / 1830).tolist()
        texts = []
        for _ in range(1 + rng.integers(1, 7)):
            kept = [word if rng.random() < 0.7 else str(rng.choice(WORDS)) for word in base]
            start = rng.integers(0, 6)
            texts.append(kept[start : start + int(rng.integers(1, 12))])
        written.append(texts[0] if rng.random() < 0.95 else [])
        references.append(texts[1:])
    return written, references


def made(written: Sequence[Sequence[str]], references: Sequence[Sequence[Sequence[str]]]) -> Captions:
    owner = np.repeat(np.arange(len(references)), [len(texts) for texts in references])
    return Captions(written, [text for texts in references for text in texts], owner)


def of_texts(written: Sequence[str], references: Sequence[Sequence[str]]) -> Captions:
    return made([text.split() for text in written], [[text.split() for text in texts] for texts in references])


def self_idf(captions: Captions) -> list[np.ndarray]:
    return [idf(ngrams.images_with(), len(captions.written)) for ngrams in captions.ngrams]


def for_peer(written, references) -> tuple[dict[int, list[str]], dict[int, list[str]]]:
    joined = {image: [" ".join(text) for text in texts] for image, texts in enumerate(references)}
    return joined, {image: [" ".join(text)] for image, text in enumerate(written)}


def test_bleu_of_the_set_is_cocos() -> None:
    written, references = sets()
    statistics = bleu_statistics(made(written, references))
    expected, _ = Bleu(4).compute_score(*for_peer(written, references), verbose=0)
    # it adds 1e-9 to each number of n-grams, which are some thousand here
    assert bleu(statistics.sum(axis=0)) == pytest.approx(expected, rel=1e-12)
    assert 0.05 < expected[3] < 0.9


def test_bleu_statistics_are_cocos() -> None:
    written, references = sets()
    scorer = BleuScorer(n=4)
    for text, texts in zip(written, references, strict=True):
        scorer += (" ".join(text), [" ".join(each) for each in texts])
    ours = bleu_statistics(made(written, references))
    for row, theirs in zip(ours.tolist(), scorer.ctest, strict=True):
        nearest = scorer._single_reflen(theirs["reflen"], "closest", theirs["testlen"])
        assert row == [*theirs["correct"], *theirs["guess"], theirs["testlen"], nearest]


def test_rouge_is_cocos() -> None:
    written, references = sets()
    _, expected = Rouge().compute_score(*for_peer(written, references))
    assert rouge_l(made(written, references)) == pytest.approx(expected, rel=0, abs=1e-15)


def test_cider_is_cocos() -> None:
    written, references = sets()
    captions = made(written, references)
    _, expected = Cider().compute_score(*for_peer(written, references))
    assert cider_d(captions, self_idf(captions)) == pytest.approx(expected, rel=1e-12, abs=1e-12)
    assert 0.1 < expected.mean() < 9


def test_bleu_is_torchmetrics() -> None:
    """A second peer, without smoothing; its nearest length depends on the order of references of equal distance."""
    written, references = sets(num_images=60, seed=1)
    ordered = [sorted(texts, key=len) for texts in references]
    preds, target = [" ".join(text) for text in written], [[" ".join(each) for each in texts] for texts in ordered]
    for n in range(1, 5):
        expected = float(bleu_score(preds, target, n_gram=n))
        assert bleu(bleu_statistics(made(written, references)).sum(axis=0))[n - 1] == pytest.approx(expected, rel=1e-5)


def test_bleu_closed_form() -> None:
    """Papineni et al., section 2.1: of seven "the", two are in a reference."""
    references = [["the cat is on the mat", "there is a cat on the mat"]]
    statistics = bleu_statistics(of_texts([" ".join(["the"] * 7)], references))
    assert statistics[0].tolist() == [2, 0, 0, 0, 7, 6, 5, 4, 7, 7]
    assert bleu(statistics.sum(axis=0)).tolist() == [pytest.approx(2 / 7), 0, 0, 0]
    short = bleu(bleu_statistics(of_texts(["the cat"], references)).sum(axis=0))
    assert short == pytest.approx([math.exp(1 - 6 / 2), math.exp(1 - 6 / 2), 0, 0])


def test_no_match_is_zero_where_coco_is_above() -> None:
    written, references = [["a", "b", "c", "x", "d"]], [[["a", "b", "c", "y", "d"]]]
    theirs, _ = Bleu(4).compute_score(*for_peer(written, references), verbose=0)
    assert theirs[3] > 1e-5
    assert bleu(bleu_statistics(made(written, references)).sum(axis=0))[3] == 0


def test_of_two_nearest_references_the_shorter_counts() -> None:
    for lengths in ((2, 6), (6, 2)):
        statistics = bleu_statistics(made([["a"] * 4], [[["a"] * length for length in lengths]]))
        assert statistics[0, -1] == 2


@given(SENTENCES, SENTENCES)
def test_common_subsequence_is_that_of_recursion(one: list[str], other: list[str]) -> None:
    @cache
    def longest(i: int, j: int) -> int:
        if not i or not j:
            return 0
        if one[i - 1] == other[j - 1]:
            return longest(i - 1, j - 1) + 1
        return max(longest(i - 1, j), longest(i, j - 1))

    assert common_subsequence(one)(other) == longest(len(one), len(other))


def test_rouge_takes_the_best_precision_and_the_best_recall_of_different_references() -> None:
    captions = of_texts(["a b c d"], [["a b c d e f g h", "a b"]])
    precision, recall, weight = 4 / 4, 2 / 2, 1.2**2
    assert rouge_l(captions) == pytest.approx((1 + weight) * precision * recall / (recall + weight * precision))


def test_cider_closed_form() -> None:
    """Two images; "a" is in both and weighs 0, all else log 2: a cosine by hand for one n-gram after another."""
    captions = of_texts(["a red dog", "a cat"], [["a red cow red"], ["a cat"]])
    # n = 1: (red, dog) with (2 red, cow), clipped at 1, times 2 of the reference; n = 2: "a red" of (a red, red dog)
    # with (a red, red cow, cow red); n = 3 nothing in common; n = 4 the caption has none
    first = (1 * 2) / (math.sqrt(2) * math.sqrt(5)) + 1 / (math.sqrt(2) * math.sqrt(3))
    expected = [10 / 4 * first * math.exp(-1 / 72), 10 / 4 * 2]
    assert cider_d(captions, self_idf(captions)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("num_words", "most"), [(0, 0), (1, 2.5), (2, 5), (3, 7.5), (4, 10), (9, 10)])
def test_an_identical_caption_has_the_maximum(num_words: int, most: float) -> None:
    text = WORDS[:num_words]
    captions = made([text, ["other"]], [[text, text], [["other"]]])
    assert cider_d(captions, self_idf(captions))[0] == pytest.approx(most)
    assert rouge_l(captions)[0] == pytest.approx(min(1, num_words))
    expected = [1.0] * min(4, num_words) + [0.0] * max(0, 4 - num_words)
    assert bleu(bleu_statistics(captions)[0]) == pytest.approx(expected)


def test_a_single_image_scores_0_with_its_own_frequencies_even_when_identical() -> None:
    """Every n-gram is in every image, and weighs nothing; as published code has it."""
    text = ["a", "man", "riding", "a", "wave"]
    captions = made([text], [[text]])
    assert cider_d(captions, self_idf(captions)).tolist() == [0]
    _, theirs = Cider().compute_score(*for_peer([text], [[text]]))
    assert theirs.tolist() == [0]
    given_frequencies = [idf(np.ones(len(ngrams.terms), np.int64), 100) for ngrams in captions.ngrams]
    assert cider_d(captions, given_frequencies) == pytest.approx([10])


def test_order_of_references_does_not_matter() -> None:
    written, references = sets(num_images=40)
    one, other = made(written, references), made(written, [texts[::-1] for texts in references])
    assert np.array_equal(bleu_statistics(one), bleu_statistics(other))
    assert np.array_equal(rouge_l(one), rouge_l(other))
    assert cider_d(one, self_idf(one)) == pytest.approx(cider_d(other, self_idf(other)), rel=1e-12)


@given(st.lists(st.tuples(SENTENCES, st.lists(SENTENCES, min_size=1, max_size=3)), min_size=1, max_size=5))
def test_any_words_have_values_in_range(images) -> None:
    captions = made([text for text, _ in images], [texts for _, texts in images])
    of_set = bleu(bleu_statistics(captions).sum(axis=0))
    assert (of_set >= 0).all() and (of_set <= 1 + 1e-12).all()
    for values, most in ((rouge_l(captions), 1), (cider_d(captions, self_idf(captions)), 10)):
        assert (values >= 0).all() and (values <= most + 1e-9).all()


def test_empty_captions_are_bad_ones_and_no_crash() -> None:
    captions = made([[], []], [[["a", "dog"]], [["a", "cat"], []]])
    assert bleu(bleu_statistics(captions).sum(axis=0)).tolist() == [0, 0, 0, 0]
    assert rouge_l(captions).tolist() == cider_d(captions, self_idf(captions)).tolist() == [0, 0]
    nothing = made([[], []], [[[]], [[]]])
    assert bleu(bleu_statistics(nothing)).tolist() == [[0] * 4] * 2
    assert rouge_l(nothing).tolist() == cider_d(nothing, self_idf(nothing)).tolist() == [0, 0]


def test_every_image_has_a_reference() -> None:
    with pytest.raises(AssertionError, match="every image has a reference"):
        Captions([["a"], ["b"]], [["a"]], np.array([0]))
