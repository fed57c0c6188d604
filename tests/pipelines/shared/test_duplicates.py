import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.shared import duplicates
from pipelines.shared.duplicates import (
    Groups,
    Looks,
    NearDuplicates,
    best_of,
    hamming_pairs,
    hash_values,
    near_duplicates,
)


def brute_force(hashes, radius):
    return {
        (i, j)
        for i in range(len(hashes))
        for j in range(i + 1, len(hashes))
        if int(hashes[i] ^ hashes[j]).bit_count() <= radius
    }


def found(hashes, radius):
    pairs = [
        pair
        for left, right in hamming_pairs(hashes, radius)
        for pair in zip(left.tolist(), right.tolist(), strict=True)
    ]
    assert len(pairs) == len(set(pairs)), "a pair was given twice"
    return set(pairs)


def neighbours(seed, count, most_flips):
    """Random hashes, and for each a copy with up to so many bits flipped."""
    rng = np.random.default_rng(seed)
    base = rng.integers(0, 2**64, count, dtype=np.uint64)
    near = base.copy()
    for i in range(count):
        for bit in rng.choice(64, rng.integers(0, most_flips + 1), replace=False):
            near[i] ^= np.uint64(1) << np.uint64(bit)
    return rng.permutation(np.concatenate([base, near]))


@pytest.mark.parametrize("radius", range(9))
def test_no_pair_is_missed_and_none_invented(radius):
    hashes = neighbours(radius, 60, radius + 2)
    pairs = found(hashes, radius)
    assert pairs == brute_force(hashes, radius)
    assert len(pairs) >= 10


@pytest.mark.parametrize("radius", [0, 4, 8])
def test_hashes_that_share_most_bits(radius):
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**12, 80, dtype=np.uint64) << np.uint64(26)
    assert found(hashes, radius) == brute_force(hashes, radius)


@given(st.lists(st.sampled_from([0, 1, 3, 7, 2**63, 2**63 + 1, 2**64 - 1]), max_size=12), st.integers(0, 8))
@settings(max_examples=60, deadline=None)
def test_any_small_list(values, radius):
    hashes = np.array(values, dtype=np.uint64)
    assert found(hashes, radius) == brute_force(hashes, radius)


def looks(num_samples, **changes):
    values = {
        "phash": np.arange(num_samples, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15),
        "is_video": np.zeros(num_samples, dtype=bool),
        "shape": np.ones(num_samples),
        "contrast": np.full(num_samples, 50.0),
        "grid": np.zeros((num_samples, 192), dtype=np.uint8),
        **changes,
    }
    return Looks(**{"phash_first": values["phash"], **values})


def grouped(labels):
    return {frozenset(np.flatnonzero(labels == label).tolist()) for label in set(labels.tolist())}


SAME = np.array([5, 5, 5], dtype=np.uint64)


def test_colours_part_what_shapes_join():
    grid = np.zeros((3, 192), dtype=np.uint8)
    grid[1, 100], grid[2, 100] = 24, 60
    same, linked = near_duplicates(looks(3, phash=SAME, grid=grid), NearDuplicates())
    assert grouped(same) == {frozenset({0, 1}), frozenset({2})}
    assert grouped(linked) == {frozenset({0, 1, 2})}


def test_blank_pictures_take_no_part():
    same, linked = near_duplicates(looks(3, phash=SAME, contrast=np.array([0.0, 50.0, 3.9])), NearDuplicates())
    assert len(grouped(same)) == len(grouped(linked)) == 3


def test_other_shapes_are_not_linked():
    shape = np.array([1.0, 1.1, 2.0])
    _, linked = near_duplicates(looks(3, phash=SAME, shape=shape), NearDuplicates())
    assert grouped(linked) == {frozenset({0, 1}), frozenset({2})}


def test_clips_are_the_same_only_by_both_frames():
    first = np.array([9, 9, 2**40 - 1], dtype=np.uint64)
    same, linked = near_duplicates(
        looks(3, phash=SAME, phash_first=first, is_video=np.ones(3, dtype=bool)), NearDuplicates()
    )
    assert grouped(same) == {frozenset({0, 1}), frozenset({2})}
    assert grouped(linked) == {frozenset({0, 1, 2})}


def test_a_clip_and_a_picture_are_linked_by_the_first_frame_but_never_the_same():
    phash = np.array([2**50 - 1, 5], dtype=np.uint64)
    first = np.array([5, 5], dtype=np.uint64)
    same, linked = near_duplicates(
        looks(2, phash=phash, phash_first=first, is_video=np.array([True, False])), NearDuplicates()
    )
    assert len(grouped(same)) == 2
    assert len(grouped(linked)) == 1


def test_groups_stay_small_in_memory(monkeypatch):
    monkeypatch.setattr(duplicates, "MAX_EDGES", 10)
    rng = np.random.default_rng(0)
    groups, union = Groups(40), np.arange(40)
    for _ in range(30):
        first, second = rng.integers(0, 40, (2, 3))
        first[0] = second[0] % 7
        groups.join(first, second)
        for a, b in zip(first, second, strict=True):
            union[union == union[a]] = union[b]
    assert grouped(groups.labels()) == grouped(union)
    assert sum(len(first) for first, _ in groups.edges) <= 10 + 40 + 3


def test_equal_codes_are_joined():
    groups = Groups(5)
    groups.join_equal(np.array([7, 3, 7, 3, 1]))
    assert grouped(groups.labels()) == {frozenset({0, 2}), frozenset({1, 3}), frozenset({4})}


def test_no_edges():
    assert len(grouped(Groups(3).labels())) == 3


def test_best_of_each_group():
    best = best_of(np.array([4, 4, 9, 9, 9]), np.array([3, 1, 0, 4, 2]))
    assert best.tolist() == [False, True, True, False, False]


def test_hash_values_are_those_of_the_digits():
    digits = np.frombuffer(b"00000000000000ff" + b"8000000000000001", dtype=np.uint8).reshape(2, 16)
    assert hash_values(digits).tolist() == [255, 2**63 + 1]
    assert len(hash_values(digits[:0])) == 0


@pytest.mark.parametrize(
    "change",
    [{"radius": 9}, {"radius": -1}, {"max_colour_difference": 256}, {"max_shape_ratio": 0.9}, {"min_contrast": -1.0}],
)
def test_settings_are_checked(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        NearDuplicates(**change)
