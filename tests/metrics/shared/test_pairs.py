"""Pairs of different shapes are refused."""

import pytest
import torch

from metrics.clip_score import Config, Metric
from metrics.shared.pairs import append_pairs, check_reconstructions


def test_pairs_are_kept_in_their_order():
    metric = Metric(Config())
    for start in (0, 2):
        append_pairs(metric, torch.ones(2, 3) * start, torch.ones(2, 3), torch.arange(start, start + 2))
    assert metric.rows("pair_owner").tolist() == [0, 1, 2, 3]
    assert metric.rows("pair_image_embeddings")[:, 0].tolist() == [0, 0, 2, 2]


def test_shapes_are_checked():
    metric = Metric(Config())
    with pytest.raises(AssertionError, match=r"pairs must be two of \[k, d\], got \(5, 3\) and \(4, 3\)"):
        append_pairs(metric, torch.ones(5, 3), torch.ones(4, 3), torch.arange(5))
    with pytest.raises(AssertionError, match=r"pair_owner must be \[k\], got \(4,\)"):
        append_pairs(metric, torch.ones(5, 3), torch.ones(5, 3), torch.arange(4))


def test_reconstructions_have_the_form_of_their_images():
    images = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    check_reconstructions(images, images)
    for other in (images.float(), images[:1]):
        with pytest.raises(AssertionError, match="must be uint8 of one shape"):
            check_reconstructions(images, other)
