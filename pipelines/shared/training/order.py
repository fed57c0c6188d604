"""The data order: which samples a step sees, with which caption and mirrored or not.

A pure function of (seed, epoch, step): an epoch is the samples sorted by a hash of (seed, epoch, key), cut into whole
batches; what is left over at its end is not used in that epoch. Caption and mirroring depend on (seed, epoch, key). So
there is no state to save, nothing depends on workers or processes, and a sample that comes or goes does not change the
order of the others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pipelines.shared.seeds import derive_seed, unit_interval


class Pick(NamedTuple):
    """One row of a batch.

    Attributes:
        row: Row of the sample in its split.
        text: Row of the caption in the split's texts; -1 for none.
        flip: Whether the picture is mirrored.
    """

    row: int
    text: int
    flip: bool


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What can be chosen for the samples of a split.

    Attributes:
        keys: Keys of the samples that are used.
        rows: Their rows in the split.
        texts: For each, rows of its captions by origin; empty for a model that reads none.
        weights: Weights of the origins.
        flip: Whether half of the pictures are mirrored.
        seed: Seed of all choices.
    """

    keys: tuple[str, ...]
    rows: tuple[int, ...]
    texts: tuple[Mapping[str, Sequence[int]], ...]
    weights: Mapping[str, float]
    flip: bool
    seed: int

    def pick(self, index: int, epoch: int) -> Pick:
        """How sample `index` of `keys` is shown in an epoch."""
        key = self.keys[index]
        flip = self.flip and unit_interval(self.seed, "flip", epoch, key) < 0.5
        return Pick(self.rows[index], self._text(index, epoch), flip)

    def _text(self, index: int, epoch: int) -> int:
        """An origin by weight among those that the sample has, then one of its captions, each as likely."""
        key, by_origin = self.keys[index], self.texts[index]
        if not by_origin:
            return -1
        captions = by_origin[self._origin(key, sorted(by_origin), epoch)]
        if len(captions) == 1:
            return captions[0]
        return captions[int(unit_interval(self.seed, "caption", epoch, key) * len(captions))]

    def _origin(self, key: str, origins: Sequence[str], epoch: int) -> str:
        if len(origins) > 1:
            left = unit_interval(self.seed, "origin", epoch, key) * sum(self.weights[origin] for origin in origins)
            for origin in origins[:-1]:
                left -= self.weights[origin]
                if left < 0:
                    return origin
        return origins[-1]


class DataOrder:
    """Batches by step."""

    def __init__(self, choices: Choices, batch_size: int) -> None:
        """At least `batch_size` samples are needed."""
        assert len(choices.keys) >= batch_size, "an epoch must have a batch"
        self.choices = choices
        self.batch_size = batch_size
        self.batches_per_epoch = len(choices.keys) // batch_size
        self._epoch, self._order = -1, list[int]()

    def batch(self, step: int, start: int = 0, stop: int | None = None) -> list[Pick]:
        """Rows [start, stop) of the batch of a step, counted from 0; no sample is in a batch twice."""
        epoch, place = divmod(step, self.batches_per_epoch)
        first = place * self.batch_size
        rows = self._sorted(epoch)[first : first + self.batch_size]
        return [self.choices.pick(index, epoch) for index in rows[start:stop]]

    def _sorted(self, epoch: int) -> list[int]:
        if epoch != self._epoch:
            hashes = [derive_seed(self.choices.seed, "order", epoch, key) for key in self.choices.keys]
            self._epoch, self._order = epoch, sorted(range(len(hashes)), key=hashes.__getitem__)
        return self._order


def in_order(choices: Choices) -> list[Pick]:
    """Every sample once, in the split's order: what a validation loss is computed on."""
    return [choices.pick(index, 0)._replace(flip=False) for index in range(len(choices.keys))]
