"""Which samples share a shard: ranges of keys that stay where they are when samples come and go.

Keys are digests, so their bits are as good as random. The range of all keys is halved, and each half again, until no
range has more samples than a shard may hold; a shard is one such range. One sample more or less therefore changes one
shard, or splits it, or joins it with its neighbours of the same half, and leaves all others alone; and the ranges
depend on the keys that are there now, not on how they came. (This is how extendible hashing splits its buckets: Fagin
et al., ACM TODS 4(3), 1979.) Shards are between half full and full on average.

A range is named by where it begins: `48000` holds keys from 48000... on.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

KEY_DIGITS = 20
KEY_BITS = 4 * KEY_DIGITS
NAME_DIGITS = 5
T = TypeVar("T")


def key_ranges(items: Iterable[T], key: Callable[[T], str], most: int) -> Iterator[tuple[str, list[T]]]:
    """Cut a stream into ranges; at most `most + 1` items are held.

    Args:
        items: Items in strictly increasing order of their keys.
        key: The key of an item, 20 hex digits.
        most: Most items of a range, from 1.

    Yields:
        Names and items of the ranges that have any, in order.
    """
    waiting: list[T] = []
    before: int | None = None
    for item in itertools.chain(items, itertools.repeat(None)):
        if item is not None:
            waiting.append(item)
        elif not waiting:
            return
        if item is None or len(waiting) > most:
            numbers = [int(key(each), 16) for each in waiting]
            name, count = _first_range(numbers, before, is_cut=item is not None)
            yield name, waiting[:count]
            before, waiting = numbers[count - 1], waiting[count:]


def _first_range(keys: Sequence[int], before: int | None, *, is_cut: bool) -> tuple[str, int]:
    """The name of the range of the first key, and how many of the keys are in it.

    It is the longest one that neither reaches back to the key before nor, if there are more keys than fit, to the last.
    """
    outside = [keys[-1]] if is_cut else []
    outside += [] if before is None else [before]
    assert keys[0] not in outside, "keys must be different"
    depth = max((KEY_BITS - (keys[0] ^ other).bit_length() + 1 for other in outside), default=0)
    rest = KEY_BITS - depth
    count = sum(number >> rest == keys[0] >> rest for number in keys)
    return range_name(keys[0] >> rest << rest), count


def range_name(start: int) -> str:
    """The name of the range that begins at a key: its hex digits without zeros at the end, but at least five."""
    return f"{start:0{KEY_DIGITS}x}".rstrip("0").ljust(NAME_DIGITS, "0")
