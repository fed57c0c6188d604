"""Nearest neighbours against whole matrices of differences, and the traps: oneself, copies, rounding."""

import numpy as np
import pytest
import torch

from metrics.shared import neighbours
from metrics.shared.neighbours import GroupedPoints, Points, distance_blocks, nearest, radii


def rows(num_rows: int, seed: int, width: int = 5) -> torch.Tensor:
    return torch.randn(num_rows, width, generator=torch.Generator().manual_seed(seed))


def differences(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return (one.double()[:, None] - other.double()[None]).square().sum(-1)


@pytest.fixture(params=[1, 70, 2_000_000])
def _block(request, monkeypatch):
    monkeypatch.setattr(neighbours, "BLOCK_DISTANCES", request.param)


@pytest.mark.usefixtures("_block")
def test_distances_are_those_of_the_differences():
    one, other = rows(40, 0) + 300, rows(30, 1) + 300
    points = Points.of(one, other)
    found = torch.cat([squared for _, squared in distance_blocks(*points.sets)])
    assert torch.allclose(found, differences(one, other), rtol=1e-12, atol=1e-12)


@pytest.mark.usefixtures("_block")
def test_nearest_of_others_and_of_oneself():
    one, other = rows(40, 0), rows(30, 1)
    points = Points.of(one, other)
    squared, index = nearest(*points.sets, points.tie)
    truth = differences(one, other)
    assert torch.equal(index, truth.argmin(1))
    assert torch.allclose(squared, truth.amin(1))
    own = torch.arange(5, 40)
    squared, index = nearest(points.sets[0][5:], points.sets[0], points.tie, own)
    truth = differences(one, one).fill_diagonal_(torch.inf)[5:]
    assert torch.equal(index, truth.argmin(1))
    assert torch.allclose(squared, truth.amin(1))


@pytest.mark.usefixtures("_block")
def test_radii_of_everything_and_with_each_group_left_out():
    one = rows(37, 0)
    points = GroupedPoints.of(Points.of(one).sets[0], 5, (3, 0))
    found = radii(points, (1, 4))
    truth = differences(points.rows, points.rows).fill_diagonal_(torch.inf)
    assert sum(points.sizes) == 37
    for rank, radius in zip((1, 4), found, strict=True):
        assert torch.allclose(radius[-1], truth.sort(1).values[:, rank - 1])
        for group in range(5):
            kept = points.kept[group]
            assert int((~kept).sum()) == points.sizes[group]
            left = truth[kept][:, kept].sort(1).values[:, rank - 1]
            assert torch.allclose(radius[group, kept], left)
            assert torch.all(radius[group, ~kept] == -torch.inf)


def test_a_point_is_not_its_own_neighbour_though_rounding_moves_it():
    """Far from the origin others are nearer to a point than itself, by float32 products: to skip the least is wrong."""
    one = rows(60, 0, width=64) * 1e-3 + 100
    squared = one.square().sum(1)
    rounded = (squared[:, None] + squared - 2 * one @ one.T).clamp(min=0)
    assert torch.any(rounded.argmin(1) != torch.arange(60))
    points = Points.of(one)
    (radius,) = radii(GroupedPoints.of(points.sets[0], 5, (0, 0)), (1,))
    truth = differences(one, one).fill_diagonal_(torch.inf).amin(1)
    assert np.sort(radius[-1].numpy()) == pytest.approx(np.sort(truth.numpy()), rel=1e-6)


@pytest.mark.parametrize("block", [1, 7, 90, 10_000])
def test_copies_are_as_near_as_what_they_copy(block, monkeypatch):
    monkeypatch.setattr(neighbours, "BLOCK_DISTANCES", block)
    one = rows(30, 0, width=200)
    train = torch.cat([one, one])
    points = Points.of(train, rows(50, 1, width=200))
    _, index = nearest(points.sets[1], points.sets[0], points.tie)
    assert int(index.max()) < 30, "the first of the two"
    squared, index = nearest(points.sets[0], points.sets[0], points.tie, torch.arange(60))
    assert torch.equal(index, (torch.arange(60) + 30) % 60)
    assert float(squared.max()) <= points.tie
