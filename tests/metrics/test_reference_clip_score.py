"""RefCLIPScore against its formula, pair by pair."""

from statistics import harmonic_mean

import numpy as np
import pytest
import torch

from metrics import reference_clip_score
from metrics.reference_clip_score import Config, Metric


def rows(count: int, seed: int, width: int = 8) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed)) + 0.4


def scored(images, texts, owner, references, text_owner, **settings) -> Metric:
    metric = Metric(Config(num_resamples=100, **settings))
    metric.update(
        pair_image_embeddings=images,
        pair_text_embeddings=texts,
        pair_owner=torch.as_tensor(owner),
        reference_text_embeddings=references,
        text_owner=torch.as_tensor(text_owner),
    )
    return metric


def cosine(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(one.double(), other.double(), dim=0))


@pytest.mark.parametrize("block_elements", [1, 4_000_000])
def test_values_are_harmonic_means(monkeypatch, block_elements):
    monkeypatch.setattr(reference_clip_score, "BLOCK_ELEMENTS", block_elements)
    images, texts, references = rows(30, 0), rows(30, 1), rows(50, 2)
    owner = torch.arange(30) // 2
    text_owner = torch.cat([torch.arange(15), torch.arange(35) % 11])
    text_owner = text_owner[torch.randperm(50, generator=torch.Generator().manual_seed(3))]
    metric = scored(images, texts, owner, references, text_owner)
    expected = []
    for pair in range(30):
        own = [place for place in range(50) if text_owner[place] == owner[pair]]
        of_image = 2.5 * max(cosine(images[pair], texts[pair]), 0)
        of_text = max(max(cosine(texts[pair], references[place]) for place in own), 0)
        expected.append(harmonic_mean([of_image, of_text]))
    per_sample = metric.per_sample()
    assert per_sample["reference_clip_score"] == pytest.approx(np.array(expected))
    assert 0 in expected and max(expected) > 0.5
    estimate = metric.compute()["reference_clip_score"]
    assert estimate.value == pytest.approx(np.mean(expected))
    assert (estimate.n, estimate.higher_is_better) == (15, True)
    assert estimate.low < estimate.value < estimate.high


def test_the_nearest_of_the_own_references_counts():
    images = texts = torch.eye(3)
    references = torch.cat([torch.eye(3).roll(1, 0), torch.eye(3) + torch.eye(3).roll(1, 0)])
    metric = scored(images, texts, [0, 1, 2], references, [0, 1, 2, 0, 1, 2])
    expected = harmonic_mean([2.5, 0.5**0.5])
    assert metric.per_sample()["reference_clip_score"] == pytest.approx(np.full(3, expected))
    assert metric.per_sample()["reference_cosine"] == pytest.approx(np.full(3, 0.5**0.5))


def test_a_caption_opposite_to_everything_scores_nothing():
    """The published code divides 0 by 0 here."""
    images = torch.eye(2)
    metric = scored(images, -images, [0, 1], images, [0, 1])
    assert metric.per_sample()["reference_clip_score"].tolist() == [0, 0]


def test_lengths_do_not_matter():
    images, texts, references = rows(10, 0), rows(10, 1), rows(10, 2)
    one = scored(images, texts, range(10), references, range(10)).compute()["reference_clip_score"]
    other = scored(3 * images, 0.1 * texts, range(10), 7 * references, range(10)).compute()["reference_clip_score"]
    assert other == pytest.approx(one)


def test_a_prefix_is_the_callers_and_names_another_score():
    metric = scored(rows(4, 0), rows(4, 1), range(4), rows(4, 2), range(4), prefix="A photo depicts ")
    assert metric.prefix == metric.protocol()["prompt"] == "A photo depicts "
    assert list(metric.compute()) == ["reference_clip_score_prefixed"]
    assert metric.protocol()["metric"] == "reference_clip_score_prefixed"


def test_every_pair_needs_a_reference():
    with pytest.raises(ValueError, match="every pair needs a reference, 2 of 4 have none"):
        scored(rows(4, 0), rows(4, 1), [0, 1, 2, 2], rows(3, 2), [0, 1, 5]).compute()


def test_shapes_are_checked():
    with pytest.raises(AssertionError, match="pairs must be two of"):
        scored(rows(4, 0), rows(3, 1), range(4), rows(4, 2), range(4))
    with pytest.raises(AssertionError, match=r"text_owner must be \[m\]"):
        scored(rows(4, 0), rows(4, 1), range(4), rows(4, 2), range(3))
