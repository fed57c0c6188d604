"""CLIP score against explicit sums over pairs, torchmetrics' convention, and repeated draws of data."""

import numpy as np
import pytest
import torch

from metrics.clip_score import Config, Metric

KEYS = ("clip_score", "clip_score_w", "clip_score_shuffled", "clip_score_gap")


def embeddings(num_pairs: int, seed: int, likeness: float = 0.7, width: int = 12):
    """Images, captions that resemble them, all with a common direction as CLIP's have."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(num_pairs, width, generator=generator) + 0.7
    noise = torch.randn(num_pairs, width, generator=generator)
    return images, likeness * images + noise


def scored(images, texts, owner=None, **settings) -> Metric:
    metric = Metric(Config(**settings))
    owner = torch.arange(len(images)) if owner is None else owner
    metric.update(pair_image_embeddings=images, pair_text_embeddings=texts, pair_owner=owner)
    return metric


def cosines(images, texts) -> np.ndarray:
    """Captions by images."""
    return torch.nn.functional.cosine_similarity(texts.double()[:, None], images.double()[None], dim=-1).numpy()


def test_values_are_the_explicit_sums():
    images, texts = embeddings(30, 0)
    values = scored(images, texts).compute()
    matrix = cosines(images, texts)
    matched, others = np.diag(matrix).mean(), (matrix.sum() - np.trace(matrix)) / (30 * 29)
    assert tuple(values) == KEYS
    assert values["clip_score"].value == pytest.approx(100 * matched)
    assert values["clip_score_w"].value == pytest.approx(2.5 * np.diag(matrix).clip(min=0).mean())
    assert values["clip_score_shuffled"].value == pytest.approx(100 * others)
    assert values["clip_score_gap"].value == pytest.approx(100 * (matched - others))
    assert all(estimate.n == 30 and estimate.interval == "bootstrap" for estimate in values.values())


def test_negative_cosines_are_clamped_one_by_one_in_one_convention_only():
    images, texts = torch.eye(4), torch.eye(4)
    texts[0] = -texts[0]
    values = scored(images, texts).compute()
    assert values["clip_score"].value == pytest.approx(50)  # (3 - 1) / 4
    assert values["clip_score_w"].value == pytest.approx(2.5 * 3 / 4)


def test_images_of_the_same_sample_are_no_distractors():
    images, texts = embeddings(24, 1)
    owner = torch.tensor([0, 0, 0, 1, 1, 2, 3, 3] * 3)
    metric = scored(images, texts, owner)
    matrix, other = cosines(images, texts), owner[:, None].numpy() != owner[None].numpy()
    expected = np.mean([row[mask].mean() for row, mask in zip(matrix, other, strict=True)])
    values = metric.compute()
    assert values["clip_score_shuffled"].value == pytest.approx(100 * expected)
    assert values["clip_score_gap"].value == pytest.approx(100 * (np.diag(matrix).mean() - expected))
    assert values["clip_score"].n == 4


def test_per_pair_values_are_what_is_averaged():
    metric = scored(*embeddings(20, 2))
    values, per_sample = metric.compute(), metric.per_sample()
    assert set(per_sample) == {*KEYS, "owner"}
    for key in KEYS:
        assert per_sample[key].mean() == pytest.approx(values[key].value)
    gap = per_sample["clip_score"] - per_sample["clip_score_shuffled"]
    assert np.allclose(per_sample["clip_score_gap"], gap)


def test_interval_has_the_spread_of_repeated_data():
    """Standard error of each key, from its interval, against the spread over 300 draws of 80 pairs."""
    drawn = {key: [] for key in KEYS}
    widths = {key: [] for key in KEYS}
    for seed in range(300):
        for key, estimate in scored(*embeddings(80, seed), num_resamples=200).compute().items():
            drawn[key].append(estimate.value)
            widths[key].append((estimate.high - estimate.low) / 3.92)
    for key in KEYS:
        assert np.mean(widths[key]) == pytest.approx(np.std(drawn[key]), rel=0.15), key


def test_gap_is_zero_for_captions_that_say_nothing():
    images, texts = embeddings(300, 3, likeness=0)
    gap = scored(images, texts).compute()["clip_score_gap"]
    assert gap.low < 0 < gap.high
    images, texts = embeddings(300, 3, likeness=0.4)
    gap = scored(images, texts).compute()["clip_score_gap"]
    assert gap.low > 0


def test_a_prefix_is_the_callers_and_names_another_score():
    images, texts = embeddings(20, 4)
    plain, prefixed = (scored(images, texts, prefix=prefix) for prefix in ("", "A photo depicts "))
    assert (plain.prefix, prefixed.prefix) == ("", "A photo depicts ")
    assert {f"{key}_prefixed" for key in plain.compute()} == set(prefixed.compute())
    assert prefixed.compute()["clip_score_w_prefixed"] == plain.compute()["clip_score_w"]
    assert not prefixed.compute()["clip_score_shuffled_prefixed"].higher_is_better
    assert (plain.protocol()["prompt"], prefixed.protocol()["prompt"]) == ("", "A photo depicts ")
    assert prefixed.protocol()["metric"] == "clip_score_prefixed"


def test_pairs_of_one_sample_are_refused():
    with pytest.raises(ValueError, match="at least 2 test samples, got 1"):
        scored(*embeddings(5, 0), owner=torch.zeros(5)).compute()


def test_shapes_are_checked():
    images, texts = embeddings(5, 0)
    with pytest.raises(AssertionError, match="pairs must be two of"):
        scored(images, texts[:4])
    with pytest.raises(AssertionError, match="pair_owner must be"):
        scored(images, texts, torch.arange(4))
