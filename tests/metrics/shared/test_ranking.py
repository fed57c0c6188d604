"""Places of right answers against sorting, every order of a tie, and products in float64."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics.shared import ranking
from metrics.shared.ranking import Placement, place, place_dual_softmax


def unit(num_rows: int, width: int, seed: int) -> torch.Tensor:
    rows = torch.randn(num_rows, width, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(rows, dim=1)


def data(num_media: int = 40, captions: int = 5, width: int = 16, noise: float = 0.35):
    """Media, captions near theirs in shuffled order, owners."""
    media = unit(num_media, width, 0)
    owner = torch.arange(num_media).repeat_interleave(captions)
    owner = owner[torch.randperm(len(owner), generator=torch.Generator().manual_seed(1))]
    texts = media[owner] + noise * torch.randn(len(owner), width, generator=torch.Generator().manual_seed(2))
    return media, texts, owner


def cosines(media: torch.Tensor, texts: torch.Tensor) -> np.ndarray:
    """Texts by media, in float64."""
    rows = [torch.nn.functional.normalize(each.double(), dim=1) for each in (texts, media)]
    return (rows[0] @ rows[1].T).numpy()


def counted(scores: np.ndarray, right: np.ndarray, tie: float) -> tuple[int, int, int]:
    """The definition, for one query."""
    best = scores[right].max()
    return (
        int((scores[~right] > best + tie).sum()),
        int((np.abs(scores - best) <= tie).sum()),
        int((np.abs(scores[right] - best) <= tie).sum()),
    )


def counts(placement: Placement) -> list[tuple[int, int, int]]:
    return list(zip(placement.above.tolist(), placement.tied.tolist(), placement.right.tolist(), strict=True))


def same(one, other) -> bool:
    return [counts(each) for each in one] == [counts(each) for each in other]


def test_ranks_are_those_of_sorting():
    media, texts, owner = data()
    by_text, by_media = place(media, texts, owner)
    scores = cosines(media, texts)
    order = np.argsort(-scores, axis=1)
    expected = [order[query].tolist().index(own) + 1 for query, own in enumerate(owner.tolist())]
    assert by_text.rank().tolist() == expected
    assert np.allclose(by_text.reciprocal_rank(), 1 / np.array(expected))
    order = np.argsort(-scores, axis=0)
    expected = [1 + min(np.flatnonzero(owner.numpy()[order[:, medium]] == medium)) for medium in range(len(media))]
    assert by_media.rank().tolist() == expected
    assert not by_media.is_tied().any()


def test_ties_give_the_mean_over_all_orders():
    """Above 2, tied 5 of which 2 are right: every order of the tie is written down."""
    placement = Placement(np.array([2]), np.array([5]), np.array([2]))
    firsts = [min(places) for places in itertools.permutations(range(5), 2)]
    for k in range(1, 9):
        assert placement.recall(k)[0] == pytest.approx(np.mean([2 + first < k for first in firsts]))
    assert placement.rank()[0] == pytest.approx(np.mean([3 + first for first in firsts]))
    assert placement.reciprocal_rank()[0] == pytest.approx(np.mean([1 / (3 + first) for first in firsts]))
    assert placement.is_tied()[0]


def test_reciprocal_rank_of_one_among_equals_is_the_harmonic_mean():
    placement = Placement(np.array([0, 0, 3]), np.array([1000, 1, 1]), np.array([1, 1, 1]))
    assert placement.reciprocal_rank() == pytest.approx([np.mean(1 / np.arange(1, 1001)), 1, 1 / 4])


def test_equal_captions_tie_exactly():
    """The same words for several images: whichever way the product is blocked, none of them wins."""
    media, texts, owner = data(num_media=30, captions=1, width=300)
    texts[owner < 4] = texts[owner == 0]
    _, by_media = place(media, texts, owner)
    assert by_media.tied[:4].tolist() == [4] * 4
    assert by_media.right[:4].tolist() == [1] * 4
    assert by_media.recall(1)[:4].max() <= 0.25


@pytest.mark.parametrize("block_scores", [1, 500, 10**9])
def test_results_do_not_depend_on_the_block(monkeypatch, block_scores):
    media, texts, owner = data(width=100)
    expected = place(media, texts, owner), place_dual_softmax(media, texts, owner, 50)
    monkeypatch.setattr(ranking, "BLOCK_SCORES", block_scores)
    assert same(place(media, texts, owner), expected[0])
    assert same(place_dual_softmax(media, texts, owner, 50), expected[1])


def hard_data(kind: str):
    """Embeddings whose float32 products cannot be told apart, or are equal."""
    media, texts, owner = data(num_media=150, captions=3, width=256, noise=0.4)
    if kind == "half precision":
        return media.bfloat16().float(), texts.bfloat16().float(), owner
    if kind == "few levels":
        return (20 * media).round() + 0.5, (20 * texts).round(), owner
    if kind == "copies":
        texts[::7], media[:20] = texts[0], media[0]
        return media, texts, owner
    assert kind == "one direction"
    return 0.02 * media + 1, 0.02 * texts + 1, owner


@pytest.mark.parametrize("kind", ["half precision", "few levels", "copies", "one direction"])
def test_float32_products_change_no_count(monkeypatch, kind):
    media, texts, owner = hard_data(kind)
    monkeypatch.setattr(ranking, "MAX_NEAR_FRAC", 1.0)
    in_single = place(media, texts, owner)
    monkeypatch.setattr(ranking, "MAX_NEAR_FRAC", -1.0)
    assert same(in_single, place(media, texts, owner))
    scores = cosines(media, texts)
    expected = [
        counted(row, np.arange(len(media)) == own, 1e-12) for row, own in zip(scores, owner.tolist(), strict=True)
    ]
    assert counts(in_single[0]) == expected
    expected = [counted(scores[:, medium], (owner == medium).numpy(), 1e-12) for medium in range(len(media))]
    assert counts(in_single[1]) == expected


def test_float32_products_alone_would_change_counts():
    """What the test above guards against: without the second look in float64, ranks differ."""
    media, texts, owner = hard_data("one direction")
    rows = [torch.nn.functional.normalize(each.double(), dim=1).float() for each in (texts, media)]
    single = (rows[0] @ rows[1].T).numpy()
    exact = cosines(media, texts)
    own = owner.numpy()[:, None]
    above = [(scores > np.take_along_axis(scores, own, 1)).sum(1) for scores in (single, exact)]
    assert (above[0] != above[1]).mean() > 0.1


@pytest.mark.parametrize("width", [8, 512, 3000])
def test_float32_products_are_within_the_error_that_is_assumed(width):
    media, texts, _ = data(num_media=200, width=width, noise=3.0)
    rows = [torch.nn.functional.normalize(each.double(), dim=1).float() for each in (texts, media)]
    error = np.abs((rows[0] @ rows[1].T).numpy() - cosines(media, texts)).max()
    assert error < (1.01 * width + 8) * ranking.FLOAT32_ROUNDING


def test_less_precise_products_are_not_used(monkeypatch):
    """Where float32 products are allowed to be of fewer bits, all are in float64."""

    def refuse(*_args):
        raise AssertionError("the error bound does not hold")

    media, texts, owner = data()
    expected = place(media, texts, owner)
    monkeypatch.setattr(ranking, "_count_in_single", refuse)
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: "high")
    assert same(place(media, texts, owner), expected)


def test_a_medium_that_is_no_right_answer_only_stands_in_the_way():
    media, texts, owner = data()
    by_text, _ = place(torch.cat([media, media[:3] + 0.1]), texts, owner)
    without, _ = place(media, texts, owner)
    assert (by_text.above >= without.above).all()
    assert (by_text.above > without.above).any()


@given(
    st.lists(st.lists(st.integers(-2, 2), min_size=3, max_size=3).filter(any), min_size=2, max_size=6),
    st.lists(
        st.tuples(st.lists(st.integers(-2, 2), min_size=3, max_size=3).filter(any), st.integers(0, 5)),
        min_size=1,
        max_size=12,
    ),
)
@settings(max_examples=60, deadline=None)
def test_small_whole_numbers_with_many_ties(media_rows, captions):
    media = torch.tensor(media_rows, dtype=torch.float32)
    own = [(row, index % len(media)) for row, index in captions] + [(row, i) for i, row in enumerate(media_rows)]
    texts, owner = torch.tensor([row for row, _ in own]).float(), torch.tensor([index for _, index in own])
    by_text, by_media = place(media, texts, owner)
    scores = cosines(media, texts)
    for query, index in enumerate(owner.tolist()):
        assert counts(by_text)[query] == counted(scores[query], np.arange(len(media)) == index, 1e-9)
    for medium in range(len(media)):
        assert counts(by_media)[medium] == counted(scores[:, medium], (owner == medium).numpy(), 1e-9)


@pytest.mark.parametrize("temperature", [1.0, 100.0, 300.0])
def test_dual_softmax_is_its_formula(temperature):
    media, texts, owner = data(noise=0.5)
    scores = cosines(media, texts)
    assert scores.min() < -0.3, "products of both signs"
    by_text, by_media = place_dual_softmax(media, texts, owner, temperature)
    weights = np.exp(temperature * scores)
    revised = scores * weights / weights.sum(0)  # a caption's share of all queries of an image
    own = np.take_along_axis(revised, owner.numpy()[:, None], 1)
    assert np.array_equal(by_text.above, (revised > own).sum(1))
    revised = scores * weights / weights.sum(1, keepdims=True)
    best = np.array([revised[owner == medium, medium].max() for medium in range(len(media))])
    assert np.array_equal(by_media.above, (revised > best).sum(0))
    assert (by_text.tied == 1).all() and (by_media.tied == 1).all()
    assert not same((by_text, by_media), place(media, texts, owner)), "or the softmax did nothing"


def test_dual_softmax_takes_a_hub_out_of_the_way():
    """One image is nearer to every caption than its own image is; but that is nearer to no other caption."""
    media = torch.eye(6)
    media[0] = torch.tensor([1.0, 0.9, 0.9, 0.9, 0.9, 0.9])
    texts = torch.eye(6) + 2 * torch.eye(6)[0]
    texts[0] = media[0]
    owner = torch.arange(6)
    plain, _ = place(media, texts, owner)
    revised, _ = place_dual_softmax(media, texts, owner, 100.0)
    assert plain.recall(1)[1:].max() == 0
    assert revised.recall(1).min() == 1


def test_dual_softmax_of_a_constant_model_is_one_tie():
    media, texts, owner = torch.ones(12, 4), torch.ones(36, 4), torch.arange(12).repeat(3)
    by_text, by_media = place_dual_softmax(media, texts, owner, 100.0)
    assert by_text.tied.tolist() == [12] * 36
    assert (by_media.tied.tolist(), by_media.right.tolist()) == ([36] * 12, [3] * 12)
