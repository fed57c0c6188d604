"""Recall and ranks against two peers, a slow restatement and closed forms."""

import itertools

import numpy as np
import pytest
import torch
from clip_benchmark.metrics.zeroshot_retrieval import recall_at_k
from torchmetrics.functional.retrieval import retrieval_hit_rate, retrieval_recall

from metrics import retrieval
from metrics.retrieval import Config, Metric, Placement, place

CAPTIONS = 5


def unit(num_rows: int, width: int, seed: int) -> torch.Tensor:
    rows = torch.randn(num_rows, width, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(rows, dim=1)


def data(num_images: int = 40, captions: int = CAPTIONS, width: int = 16, noise: float = 0.35):
    """Images, captions near theirs in shuffled order, owners."""
    images = unit(num_images, width, 0)
    owner = torch.arange(num_images).repeat_interleave(captions)
    owner = owner[torch.randperm(len(owner), generator=torch.Generator().manual_seed(1))]
    return (
        images,
        images[owner] + noise * torch.randn(len(owner), width, generator=torch.Generator().manual_seed(2)),
        owner,
    )


def computed(images, texts, owner, **settings) -> dict[str, float]:
    metric = Metric(Config(num_resamples=100, **settings))
    metric.update(image_embeddings=images, text_embeddings=texts, text_owner=owner)
    return {key: estimate.value for key, estimate in metric.compute().items()}


def test_clip_benchmark_agrees():
    images, texts, owner = data()
    ours = computed(images, texts, owner)
    scores = torch.nn.functional.normalize(texts, dim=1) @ images.T
    positive = torch.nn.functional.one_hot(owner, len(images)).bool()
    for k in (1, 5, 10):
        by_text = (recall_at_k(scores, positive, k) > 0).float().mean().item()
        by_image = (recall_at_k(scores.T, positive.T, k) > 0).float().mean().item()
        assert ours[f"text_to_image_recall@{k}"] == pytest.approx(by_text, abs=1e-6)
        assert ours[f"image_to_text_recall@{k}"] == pytest.approx(by_image, abs=1e-6)
    assert 0.1 < ours["text_to_image_recall@1"] < 0.9, "neither perfect nor hopeless, or the test says nothing"


def test_torchmetrics_hit_rate_agrees():
    images, texts, owner = data(num_images=25)
    ours = computed(images, texts, owner)
    scores = torch.nn.functional.normalize(texts, dim=1) @ images.T
    positive = torch.nn.functional.one_hot(owner, len(images)).bool()
    for k in (1, 5):
        hits = [retrieval_hit_rate(row, right, top_k=k) for row, right in zip(scores.T, positive.T, strict=True)]
        assert ours[f"image_to_text_recall@{k}"] == pytest.approx(float(torch.stack(hits).mean()), abs=1e-6)


def test_ranks_are_those_of_sorting():
    images, texts, owner = data()
    by_text, by_image = place(images, texts, owner)
    scores = (torch.nn.functional.normalize(texts.double(), dim=1) @ images.double().T).numpy()
    order = np.argsort(-scores, axis=1)
    expected = [order[query].tolist().index(own) + 1 for query, own in enumerate(owner.tolist())]
    assert by_text.rank().tolist() == expected
    order = np.argsort(-scores, axis=0)
    expected = [1 + min(np.flatnonzero(owner.numpy()[order[:, image]] == image)) for image in range(len(images))]
    assert by_image.rank().tolist() == expected
    ours = computed(images, texts, owner)
    assert ours["image_to_text_mean_rank"] == pytest.approx(np.mean(expected))
    assert ours["image_to_text_median_rank"] == np.median(expected)


def test_negative_cosines_count_as_any_others():
    """All are below 0 and the right one is highest, where torchmetrics' recall is 0."""
    constant = torch.full((12, 1), 3.0)
    images, texts = torch.cat([torch.eye(12), constant], dim=1), torch.cat([torch.eye(12), -constant], dim=1)
    assert (images @ texts.T).max() < 0
    ours = computed(images, texts, torch.arange(12))
    assert ours["text_to_image_recall@1"] == ours["image_to_text_recall@1"] == 1
    assert retrieval_recall(images[0] @ texts.T, torch.arange(12) == 0, top_k=1) == 0


@pytest.mark.parametrize("captions", [1, CAPTIONS])
def test_a_constant_model_scores_the_chance_level(captions):
    images, texts, owner = torch.ones(20, 4), torch.ones(20 * captions, 4), torch.arange(20).repeat(captions)
    metric = Metric(Config(num_resamples=100))
    metric.update(image_embeddings=images, text_embeddings=texts, text_owner=owner)
    values, protocol = metric.compute(), metric.protocol()
    for k in (1, 5, 10):
        assert values[f"text_to_image_recall@{k}"].value == pytest.approx(k / 20)
        for direction in ("text_to_image", "image_to_text"):
            key = f"{direction}_recall@{k}"
            assert values[key].value == pytest.approx(protocol[f"{key}_chance"])
    assert values["text_to_image_median_rank"].value == 10.5
    assert protocol["image_to_text_recall@1_chance"] == pytest.approx(1 / 20)


def test_ties_give_the_mean_over_all_orders():
    """Above 2, tied 5 of which 2 are right: every order of the tie is written down."""
    placement = Placement(np.array([2]), np.array([5]), np.array([2]))
    firsts = [min(places) for places in itertools.permutations(range(5), 2)]
    for k in range(1, 9):
        assert placement.recall(k)[0] == pytest.approx(np.mean([2 + first < k for first in firsts]))
    assert placement.rank()[0] == pytest.approx(np.mean([3 + first for first in firsts]))


def test_equal_captions_tie_exactly():
    """The same words for several images: whichever way the product is blocked, none of them wins."""
    images, texts, owner = data(num_images=30, captions=1, width=300)
    texts[owner < 4] = texts[owner == 0]
    _, by_image = place(images, texts, owner)
    assert by_image.tied[:4].tolist() == [4] * 4
    assert by_image.right[:4].tolist() == [1] * 4
    assert by_image.recall(1)[:4].max() <= 0.25


@pytest.mark.parametrize("block_scores", [1, 500, 10**9])
def test_results_do_not_depend_on_the_block(monkeypatch, block_scores):
    images, texts, owner = data(width=100)
    expected = place(images, texts, owner)
    monkeypatch.setattr(retrieval, "BLOCK_SCORES", block_scores)
    for ours, theirs in zip(place(images, texts, owner), expected, strict=True):
        assert np.array_equal(ours.rank(), theirs.rank())


def test_captions_may_come_in_any_order_and_length():
    images, texts, owner = data()
    order = torch.randperm(len(owner), generator=torch.Generator().manual_seed(9))
    one, other = computed(images, texts, owner), computed(3 * images, 0.5 * texts[order], owner[order])
    assert other == pytest.approx(one)


def test_interval_resamples_images_with_their_captions():
    """Five equal captions of one image are one observation: the interval is that of one caption per image."""
    images, texts, owner = data(captions=1, num_images=60, noise=0.5)
    once, copied = Metric(Config()), Metric(Config())
    once.update(image_embeddings=images, text_embeddings=texts, text_owner=owner)
    copied.update(image_embeddings=images, text_embeddings=texts.repeat(CAPTIONS, 1), text_owner=owner.repeat(CAPTIONS))
    key = "text_to_image_recall@5"
    assert copied.compute()[key] == pytest.approx(once.compute()[key])
    assert once.compute()[key].n == 60
    assert once.compute()[key].low < once.compute()[key].value < once.compute()[key].high


def test_per_sample_values_are_what_is_averaged():
    images, texts, owner = data()
    metric = Metric(Config(num_resamples=100))
    metric.update(image_embeddings=images, text_embeddings=texts, text_owner=owner)
    values, per_sample = metric.compute(), metric.per_sample()
    assert set(per_sample) == {
        f"{direction}_{what}"
        for direction in ("text_to_image", "image_to_text")
        for what in ("recall@1", "recall@5", "recall@10", "rank", "owner")
    }
    assert np.array_equal(per_sample["text_to_image_owner"], owner)
    for key in ("text_to_image_recall@5", "image_to_text_recall@1"):
        assert per_sample[key].mean() == pytest.approx(values[key].value)


def test_video_has_its_own_names():
    images, texts, owner = data(captions=1)
    metric = Metric(Config(media="video", recall_at=(1, 5), num_resamples=100))
    assert metric.inputs == ("video_embeddings", "text_embeddings", "text_owner")
    metric.update(video_embeddings=images, text_embeddings=texts, text_owner=owner)
    assert set(metric.compute()) == {
        f"{direction}_{what}"
        for direction in ("text_to_video", "video_to_text")
        for what in ("recall@1", "recall@5", "mean_rank", "median_rank")
    }
    with pytest.raises(AssertionError, match="image_embeddings"):
        metric.update(image_embeddings=images, text_embeddings=texts, text_owner=owner)


def test_ties_are_reported(caplog):
    computed(torch.ones(20, 4), torch.ones(20, 4), torch.arange(20))
    assert "text_to_image: 100.0% of the queries have wrong answers tied with the right one" in caplog.text
    caplog.clear()
    computed(*data())
    assert not caplog.text


def test_evidence_is_checked():
    images, texts, owner = data(num_images=12)
    with pytest.raises(ValueError, match="1 of 12 have none"):
        computed(images, texts[owner != 3], owner[owner != 3])
    with pytest.raises(ValueError, match="recall at 10 needs more than 10 test samples, got 10"):
        computed(images[:10], texts[owner < 10], owner[owner < 10])
    with pytest.raises(AssertionError, match="text_owner must be in"):
        computed(images, texts, owner + 1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"media": "audio"}, "media must be one of image, video, got 'audio'"),
        ({"recall_at": (5, 1)}, "recall_at must be ascending"),
        ({"recall_at": ()}, "recall_at must be ascending"),
        ({"num_resamples": 1}, "num_resamples must be at least 100"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        Config(**settings)
