"""Near duplicates: all pairs of hashes within a Hamming radius, without a miss, and which of them are one picture.

Pigeonhole: of radius + 2 bands of bits, two hashes within the radius share at least two whole bands. So for every two
bands the hashes are sorted by their bits and each is compared with all that share them; no pair is missed. This is a
sort and some vector passes for every two bands, so memory is a few words per hash, whatever the number of pairs. Time
is quadratic in the size of the largest group that shares two bands: for 1,000,000 even hashes one at radius 4, 15 at
radius 6.

Two samples are *linked* if their hashes are within the radius and their shapes agree: they may never stand in two
splits. They are *the same* if moreover their colours agree: one of them goes. Hashes see grey shapes only, and in
5,528 emoji and clip art pictures links join a red and a blue ball, an eight and a nine of diamonds, all skin tones of
a hand. Blank pictures all share a hash, so those of nearly no contrast take no part.

Clips are hashed twice, by the middle and the first frame. Two clips are the same only if both hashes are within the
radius; a clip and a picture are never the same, but they are linked by either hash.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

HASH_BITS = 64
HASH_DIGITS = 16
GRID_BYTES = 192
MAX_EDGES = 1 << 22
NO_EDGE = (np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))


@dataclass(frozen=True, kw_only=True, slots=True)
class NearDuplicates:
    """When two pictures are one; the defaults were chosen by looking at pairs of emoji and clip art.

    Attributes:
        enabled: Whether to look for near duplicates at all.
        radius: Most bits by which two hashes differ, 0 to 8.
        max_colour_difference: Most that the mean colours of two pictures differ in any of 8 x 8 cells, 0 to 255; 98 %
            of pictures stay within 24 when saved again at half the size and JPEG quality 75.
        max_shape_ratio: Most that one picture's width over height is of the other's, at least 1.
        min_contrast: Least standard deviation of grey levels of a picture that takes part, 0 to 128.
    """

    enabled: bool = True
    radius: int = 4
    max_colour_difference: int = 24
    max_shape_ratio: float = 1.1
    min_contrast: float = 4.0

    def __post_init__(self) -> None:
        if not 0 <= self.radius <= 8:
            raise ValueError(f"radius must be from 0 to 8, got {self.radius}")
        if not 0 <= self.max_colour_difference <= 255:
            raise ValueError(f"max_colour_difference must be from 0 to 255, got {self.max_colour_difference}")
        if not self.max_shape_ratio >= 1:
            raise ValueError(f"max_shape_ratio must be at least 1, got {self.max_shape_ratio}")
        if not 0 <= self.min_contrast <= 128:
            raise ValueError(f"min_contrast must be from 0 to 128, got {self.min_contrast}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Looks:
    """What N samples look like.

    Attributes:
        phash: uint64 [N], of the picture or the middle frame.
        phash_first: uint64 [N], of the picture or the first frame.
        is_video: bool [N].
        shape: float64 [N], width over height.
        contrast: float64 [N].
        grid: uint8 [N, 192], mean colours.
    """

    phash: np.ndarray
    phash_first: np.ndarray
    is_video: np.ndarray
    shape: np.ndarray
    contrast: np.ndarray
    grid: np.ndarray


def hamming_pairs(hashes: np.ndarray, radius: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """All pairs of uint64 [N] hashes that differ in at most `radius` bits, each once, in portions of at most N.

    Yields:
        Two int64 arrays of positions; in each pair the first is the smaller one.
    """
    masks = [first | second for first, second in itertools.combinations(_bands(radius + 2), 2)]
    for number, mask in enumerate(masks):
        order = np.argsort(hashes & mask, kind="stable")
        in_order = hashes[order]
        shared = in_order & mask
        here = np.arange(len(hashes))
        for step in range(1, len(hashes)):
            here = here[: np.searchsorted(here, len(hashes) - step)]
            here = here[shared[here] == shared[here + step]]
            if not len(here):
                break
            difference = in_order[here] ^ in_order[here + step]
            near = np.bitwise_count(difference) <= radius
            for earlier in masks[:number]:
                near &= (difference & earlier) != 0
            left, right = order[here[near]], order[here[near] + step]
            if len(left):
                yield np.minimum(left, right), np.maximum(left, right)


def _bands(num_bands: int) -> list[np.uint64]:
    """Masks that divide the bits among bands of nearly equal width."""
    edges = [HASH_BITS * band // num_bands for band in range(num_bands + 1)]
    return [np.uint64((1 << stop) - (1 << start)) for start, stop in itertools.pairwise(edges)]


def near_duplicates(looks: Looks, settings: NearDuplicates) -> tuple[np.ndarray, np.ndarray]:
    """Groups of samples that are the same, and groups that are linked.

    Returns:
        Two int64 [N] arrays of labels: equal labels, one group. Only samples of one medium are the same.
    """
    num_samples = len(looks.phash)
    same, linked = Groups(num_samples), Groups(num_samples)
    taking = np.flatnonzero(looks.contrast >= settings.min_contrast)
    clips = taking[looks.is_video[taking]]
    owners = np.concatenate([taking, clips])
    hashes = np.concatenate([looks.phash[taking], looks.phash_first[clips]])
    for left, right in hamming_pairs(hashes, settings.radius):
        pairs = owners[left], owners[right]
        wide = np.abs(np.log(looks.shape[pairs[0]] / looks.shape[pairs[1]])) > np.log(settings.max_shape_ratio) + 1e-9
        first, second = (side[~wide & (pairs[0] != pairs[1])] for side in pairs)
        linked.join(first, second)
        agree = _same(looks, settings, first, second)
        same.join(first[agree], second[agree])
    return same.labels(), linked.labels()


def _same(looks: Looks, settings: NearDuplicates, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Which linked pairs are the same picture or clip, bool [P]."""
    agree = looks.is_video[first] == looks.is_video[second]
    for hashes in (looks.phash, looks.phash_first):
        agree &= np.bitwise_count(hashes[first] ^ hashes[second]) <= settings.radius
    for rows in np.array_split(np.flatnonzero(agree), max(1, len(first) >> 16)):
        difference = looks.grid[first[rows]].astype(np.int16) - looks.grid[second[rows]]
        agree[rows] = np.abs(difference).max(axis=1, initial=0) <= settings.max_colour_difference
    return agree


class Groups:
    """Groups of N things, joined by edges; holds a few edges per thing, however many were given."""

    def __init__(self, num_things: int) -> None:
        self.num_things = num_things
        self.edges = [NO_EDGE]
        self.num_edges = 0

    def join(self, first: np.ndarray, second: np.ndarray) -> None:
        """Put the things of each pair into one group."""
        self.edges.append((first, second))
        self.num_edges += len(first)
        if self.num_edges > MAX_EDGES + self.num_things:
            labels = self.labels()
            self.edges, self.num_edges = [NO_EDGE], 0
            self.join_equal(labels)

    def join_equal(self, codes: np.ndarray) -> None:
        """Put all things of equal codes, int64 [N], into one group."""
        _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
        others = np.flatnonzero(first[inverse] != np.arange(self.num_things))
        self.edges.append((first[inverse][others], others))
        self.num_edges += len(others)

    def labels(self) -> np.ndarray:
        """int64 [N]; equal labels, one group."""
        first, second = (np.concatenate([edge[side] for edge in self.edges]) for side in (0, 1))
        shape = (self.num_things, self.num_things)
        graph = coo_array((np.ones(len(first), dtype=bool), (first, second)), shape)
        return connected_components(graph, directed=False)[1].astype(np.int64)


def best_of(labels: np.ndarray, rank: np.ndarray) -> np.ndarray:
    """The thing of the lowest rank of each group, bool [N], from int64 [N] labels and ranks."""
    order = np.argsort(rank, kind="stable")
    _, first = np.unique(labels[order], return_index=True)
    best = np.zeros(len(rank), dtype=bool)
    best[order[first]] = True
    return best


def hash_values(digits: np.ndarray) -> np.ndarray:
    """uint64 [N] from hex digits in ASCII, uint8 [N, 16]."""
    return np.frombuffer(bytes.fromhex(digits.tobytes().decode()), dtype=">u8").astype(np.uint64)
