"""R-precision against a slow restatement, closed forms, and what its draws promise."""

import numpy as np
import pytest
import torch

from metrics import r_precision
from metrics.r_precision import Config, Metric, draw_distractors


def embeddings(num_pairs: int, seed: int = 0, likeness: float = 1.0, width: int = 16):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(num_pairs, width, generator=generator)
    return images, likeness * images + torch.randn(num_pairs, width, generator=generator)


def scored(images, texts, owner=None, **settings) -> Metric:
    metric = Metric(Config(**settings))
    owner = torch.arange(len(images)) if owner is None else owner
    metric.update(pair_image_embeddings=images, pair_text_embeddings=texts, pair_owner=owner)
    return metric


@pytest.mark.parametrize("block_elements", [1, 4_000_000])
def test_values_are_those_of_each_draw(monkeypatch, block_elements):
    monkeypatch.setattr(r_precision, "BLOCK_ELEMENTS", block_elements)
    images, texts = embeddings(60, likeness=0.5)
    owner = torch.arange(60) // 2
    metric = scored(images, texts, owner, num_distractors=12)
    per_sample = metric.per_sample()
    drawn = per_sample["distractors"].reshape(60, 12)
    cosines = torch.nn.functional.cosine_similarity(images.double()[:, None], texts.double()[None], dim=-1).numpy()
    ranks = [1 + (cosines[pair, drawn[pair]] > cosines[pair, pair]).sum() for pair in range(60)]
    assert np.array_equal(per_sample["r_precision"], np.equal(ranks, 1))
    assert np.allclose(per_sample["r_precision_mrr"], 1 / np.array(ranks))
    assert 0.2 < per_sample["r_precision"].mean() < 0.9, "neither perfect nor hopeless, or the test says nothing"
    for key, estimate in metric.compute().items():
        assert estimate.value == pytest.approx(per_sample[key].mean())
        assert (estimate.n, estimate.higher_is_better) == (30, True)


def test_drawn_captions_are_different_ones_of_other_samples():
    owner = np.array([5, 1, 1, 7, 5, 2, 2, 2, 9, 1] * 4)
    drawn = draw_distractors(owner, 20, seed=3)
    assert drawn.shape == (40, 20)
    for pair, row in enumerate(drawn):
        assert len(set(row)) == 20
        assert not (owner[row] == owner[pair]).any()


def test_every_other_caption_is_as_likely():
    owner = np.array([0, 0, 1, 2, 2, 3])
    counts = np.zeros((6, 6))
    for seed in range(600):
        for pair, row in enumerate(draw_distractors(owner, 2, seed)):
            counts[pair, row] += 1
    for pair in range(6):
        others = owner != owner[pair]
        assert (counts[pair, ~others] == 0).all()
        expected = 600 * 2 / others.sum()
        assert np.abs(counts[pair, others] - expected).max() < 4.5 * np.sqrt(expected)


def test_a_pair_draws_alone():
    """From (seed, its place): what other pairs draw, or how many are drawn, does not matter to who comes first."""
    owner = np.arange(30)
    drawn = draw_distractors(owner, 8, seed=1)
    assert np.array_equal(drawn, draw_distractors(owner, 8, seed=1))
    assert not np.array_equal(drawn, draw_distractors(owner, 8, seed=2))
    assert len({tuple(row) for row in drawn.tolist()}) == 30
    expected = np.random.default_rng((1, 4)).choice(29, size=8, replace=False)
    assert np.array_equal(drawn[4], expected + (expected >= 4))


def test_a_small_test_set_uses_all_other_captions():
    images, texts = embeddings(12)
    owner = torch.tensor([0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 5, 6])
    metric = scored(images, texts, owner)
    assert metric.protocol()["num_distractors"] == 9, "the first sample has three of the twelve itself"
    assert metric.protocol()["r_precision_chance"] == 1 / 10
    drawn = metric.per_sample()["distractors"].reshape(12, 9)
    assert sorted(drawn[0]) == list(range(3, 12))


def test_a_constant_judge_scores_the_chance_level():
    metric = scored(torch.ones(200, 8), torch.ones(200, 8))
    protocol = metric.protocol()
    assert metric.compute()["r_precision"].value == pytest.approx(protocol["r_precision_chance"]) == 1 / 100
    assert metric.compute()["r_precision_mrr"].value == pytest.approx(protocol["r_precision_mrr_chance"])
    assert protocol["num_distractors"] == 99


def test_a_judge_that_knows_nothing_scores_about_the_chance_level():
    images, texts = embeddings(2000, likeness=0)
    estimate = scored(images, texts).compute()["r_precision"]
    assert estimate.low < 0.01 < estimate.high
    assert estimate.high < 0.02


def test_a_perfect_judge_has_an_interval():
    images, _ = embeddings(150, width=64)
    estimate = scored(images, images, torch.arange(150) // 3).compute()["r_precision"]
    assert (estimate.value, estimate.high, estimate.interval) == (1, 1, "exact")
    assert estimate.low == pytest.approx(0.025 ** (1 / 50)), "50 samples, not 150 images"


def test_captions_of_the_same_words_share_the_first_place():
    images = torch.eye(40)
    texts = torch.eye(40)
    texts[1] = texts[0]
    images[1] = images[0]
    hits = scored(images, texts, num_distractors=39).per_sample()["r_precision"]
    assert hits.tolist() == [0.5, 0.5] + [1] * 38


def test_evidence_and_settings_are_checked():
    with pytest.raises(ValueError, match="needs pairs of at least 2 test samples, got 1"):
        scored(*embeddings(5), owner=torch.zeros(5)).compute()
    with pytest.raises(ValueError, match="num_distractors must be at least 1, got 0"):
        Config(num_distractors=0)
