"""MMD against double loops, a closed form, and the traps of implementations that hold whole matrices."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics.shared.bootstrap import group_labels
from metrics.shared.kernels import mmd_sums


def square_kernel(dots: torch.Tensor) -> torch.Tensor:
    return dots.add_(1).square_()


def rows(num_rows: int, seed: int, shift: float = 0.0) -> torch.Tensor:
    return torch.randn(num_rows, 4, generator=torch.Generator().manual_seed(seed)) + shift


def looped(one: np.ndarray, other: np.ndarray, *, biased: bool) -> float:
    """The definition, pair by pair."""

    def mean(left: np.ndarray, right: np.ndarray, *, skip_same: bool) -> float:
        values = [(x @ y + 1) ** 2 for i, x in enumerate(left) for j, y in enumerate(right) if not skip_same or i != j]
        return float(np.mean(values))

    return (
        mean(one, one, skip_same=not biased)
        + mean(other, other, skip_same=not biased)
        - 2 * mean(one, other, skip_same=False)
    )


@pytest.mark.parametrize("biased", [False, True])
def test_everything_and_each_group_left_out_are_the_definition(biased):
    one, other = rows(23, 0), rows(31, 1, shift=0.5)
    sums = mmd_sums(one, other, square_kernel, num_groups=5, seed=7, block_rows=8)
    value, left_out = sums.biased() if biased else sums.unbiased()
    arrays = [each.double().numpy() for each in (one, other)]
    labels = [group_labels(len(each), 5, (7, index)) for index, each in enumerate(arrays)]
    assert value == pytest.approx(looped(*arrays, biased=biased), rel=1e-12)
    for group in range(5):
        kept = [each[label != group] for each, label in zip(arrays, labels, strict=True)]
        assert left_out[group] == pytest.approx(looped(*kept, biased=biased), rel=1e-12)


@settings(max_examples=25, deadline=None)
@given(num_one=st.integers(10, 40), num_other=st.integers(10, 40), block_rows=st.integers(1, 50))
def test_block_size_and_order_change_rounding_only(num_one, num_other, block_rows):
    one, other = rows(num_one, 0), rows(num_other, 1)
    whole = mmd_sums(one, other, square_kernel, num_groups=5, seed=0)
    blocks = mmd_sums(one, other, square_kernel, num_groups=5, seed=0, block_rows=block_rows)
    for (value, left_out), (again, left_out_again) in (
        (whole.unbiased(), blocks.unbiased()),
        (whole.biased(), blocks.biased()),
    ):
        assert again == pytest.approx(value, rel=1e-10, abs=1e-12)
        assert left_out_again == pytest.approx(left_out, rel=1e-10, abs=1e-12)
    turned = mmd_sums(one.flip(0), other.flip(0), square_kernel, num_groups=5, seed=0)
    assert turned.unbiased()[0] == pytest.approx(whole.unbiased()[0], rel=1e-10, abs=1e-12)
    swapped = mmd_sums(other, one, square_kernel, num_groups=5, seed=0)
    assert swapped.biased()[0] == pytest.approx(whole.biased()[0], rel=1e-10, abs=1e-12)


def test_biased_and_unbiased_differ_by_the_diagonal():
    """V = U + (mean of k(x, x) - U-mean of k(x, x')) / n for either set: the cross term keeps all of its pairs."""
    one, other = rows(30, 0), rows(40, 1)
    sums = mmd_sums(one, other, square_kernel, num_groups=5, seed=0)
    everyone = np.ones(5, bool)
    surplus = sum(
        (within.same.sum() / len(each) - within.unbiased_mean(everyone)) / len(each)
        for within, each in ((sums.one, one), (sums.other, other))
    )
    assert sums.biased()[0] == pytest.approx(sums.unbiased()[0] + surplus, rel=1e-12)


def test_unbiased_means_unbiased():
    """(x.y + 1)^2 = 1 + 2 x.y + (x.y)^2, so MMD^2 = 2 |difference of means|^2 + |difference of second moments|^2."""
    shift, width = 0.3, 4
    truth = 2 * width * shift**2 + (width * shift**2) ** 2
    unbiased, biased = [], []
    for seed in range(300):
        sums = mmd_sums(rows(20, 2 * seed), rows(20, 2 * seed + 1, shift), square_kernel, num_groups=5, seed=0)
        unbiased.append(sums.unbiased()[0])
        biased.append(sums.biased()[0])
    error = np.std(unbiased) / 300**0.5
    assert abs(np.mean(unbiased) - truth) < 3 * error
    assert np.mean(biased) - truth > 10 * error
    assert min(biased) > 0


def test_no_matrix_is_larger_than_a_block():
    largest = []

    def kernel(dots: torch.Tensor) -> torch.Tensor:
        largest.append(dots.numel())
        return square_kernel(dots)

    mmd_sums(rows(500, 0), rows(600, 1), kernel, num_groups=5, seed=0, block_rows=32)
    assert max(largest) <= max(32 * 32, 600), "a block, or the diagonal"
    assert sum(largest) < 500 * 600 + 1.1 * (500**2 + 600**2) / 2, "each unordered pair within a set once"


def test_a_global_precision_for_products_changes_nothing():
    """Training programs set it, and float32 products would follow, down to bfloat16 on some processors."""
    one, other = rows(64, 0), rows(64, 1)
    before = torch.get_float32_matmul_precision()
    plain = mmd_sums(one, other, square_kernel, num_groups=5, seed=0).unbiased()[0]
    torch.set_float32_matmul_precision("medium")
    try:
        assert mmd_sums(one, other, square_kernel, num_groups=5, seed=0).unbiased()[0] == plain
    finally:
        torch.set_float32_matmul_precision(before)


def test_too_few_rows_for_the_groups_are_a_users_error():
    with pytest.raises(ValueError, match=r"num_groups must be at most half the number of samples \(9\), got 5"):
        mmd_sums(rows(9, 0), rows(20, 1), square_kernel, num_groups=5, seed=0)
