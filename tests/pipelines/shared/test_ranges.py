"""Ranges of keys: the halving of all keys, done in one pass; and what one key more changes."""

import hashlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.shared.ranges import KEY_BITS, key_ranges, range_name

KEYS = st.sets(st.integers(0, 2**KEY_BITS - 1) | st.integers(0, 40), max_size=60).map(
    lambda numbers: [f"{number:020x}" for number in sorted(numbers)]
)


def cut(keys: list[str], most: int) -> dict[str, list[str]]:
    ranges = list(key_ranges(keys, str, most))
    assert len({name for name, _ in ranges}) == len(ranges)
    return dict(ranges)


def halved(keys: list[str], most: int, start: int = 0, bits: int = 0) -> dict[str, list[str]]:
    """The same by its definition, top down."""
    if len(keys) <= most:
        return {range_name(start): keys} if keys else {}
    middle = start + (1 << KEY_BITS - bits - 1)
    low = [key for key in keys if int(key, 16) < middle]
    return halved(low, most, start, bits + 1) | halved(keys[len(low) :], most, middle, bits + 1)


def keys(count: int) -> list[str]:
    return sorted(hashlib.sha256(str(number).encode()).hexdigest()[:20] for number in range(count))


@given(KEYS, st.integers(1, 9))
def test_one_pass_gives_what_halving_gives(numbers: list[str], most: int) -> None:
    found = cut(numbers, most)
    assert found == halved(numbers, most)
    assert list(itertools.chain(*found.values())) == numbers and list(found) == sorted(found)
    assert all(name <= each[0] for name, each in found.items()), "a range is named by where it begins"


@given(KEYS, st.integers(0, 2**KEY_BITS - 1), st.integers(1, 9))
def test_one_key_more_changes_the_range_that_it_falls_into(numbers: list[str], number: int, most: int) -> None:
    more = f"{number:020x}"
    old, new = cut(numbers, most), cut(sorted({*numbers, more}), most)
    touched = [name for name in old if new.get(name) != old[name]]
    assert len(touched) <= 1
    spread = [each for name, each in new.items() if old.get(name) != each]
    assert sorted(itertools.chain(*spread)) == sorted(
        {*itertools.chain(*(old[name] for name in touched)), more} - ({more} if more in numbers else set())
    )


@pytest.mark.parametrize("count", [100, 5_000, 6_000, 7_000, 8_000, 9_000, 12_000])
def test_shards_are_half_full_to_full(count: int) -> None:
    sizes = [len(each) for each in cut(keys(count), 100).values()]
    assert max(sizes) <= 100 and min(sizes) >= 30
    assert 0.5 <= sum(sizes) / len(sizes) / 100 <= 1.0


def test_names() -> None:
    assert range_name(0) == "00000" and range_name(1 << 79) == "80000"
    assert range_name(0x48 << 72) == "48000" and range_name(0x123456 << 56) == "123456"
    assert list(cut([], 3)) == [] and list(cut(["f" * 20], 3)) == ["00000"]


def test_equal_keys_are_our_mistake() -> None:
    with pytest.raises(AssertionError, match="keys must be different"):
        list(key_ranges(["0" * 20] * 3, str, 2))
