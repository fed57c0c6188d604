import random
from collections import Counter

import pytest

from pipelines.shared.training.order import Choices, DataOrder, in_order


def choices(count=23, *, weights=None, texts=None, flip=False, seed=1) -> Choices:
    return Choices(
        keys=tuple(f"key{i:04d}" for i in range(count)),
        rows=tuple(range(100, 100 + count)),
        texts=tuple(texts or {} for _ in range(count)),
        weights=weights or {},
        flip=flip,
        seed=seed,
    )


def test_batches_are_a_function_of_the_step():
    straight = [DataOrder(choices(), 5).batch(step) for step in range(40)]
    order = DataOrder(choices(), 5)
    steps = list(range(40))
    random.Random(0).shuffle(steps)
    assert {step: order.batch(step) for step in steps} == dict(enumerate(straight))


def test_parts_of_a_batch():
    order = DataOrder(choices(flip=True), 6)
    assert order.batch(7, 0, 2) + order.batch(7, 2, 4) + order.batch(7, 4, 6) == order.batch(7)


def test_an_epoch_shows_each_sample_at_most_once():
    order = DataOrder(choices(), 5)
    assert order.batches_per_epoch == 4
    for epoch in range(5):
        rows = [pick.row for step in range(4 * epoch, 4 * epoch + 4) for pick in order.batch(step)]
        assert len(set(rows)) == 20
    counts = Counter(pick.row for step in range(4000) for pick in order.batch(step))
    assert len(counts) == 23
    assert max(counts.values()) < 1.05 * min(counts.values())


def test_epochs_and_seeds_differ():
    batches = [tuple(DataOrder(choices(seed=seed), 20).batch(step)) for seed in range(3) for step in range(3)]
    assert len(set(batches)) == 9


def test_a_new_sample_keeps_the_order_of_the_others():
    few, many = choices(22), choices(23)
    before = [pick.row for pick in DataOrder(few, 22).batch(3)]
    after = [pick.row for pick in DataOrder(many, 23).batch(3) if pick.row != 122]
    assert before == after


def test_mixing_ratio():
    order = DataOrder(choices(50, weights={"web": 1, "human": 3}, texts={"web": [0, 1], "human": [7]}), 50)
    counts = Counter(pick.text for step in range(400) for pick in order.batch(step))
    total = 50 * 400
    assert counts[7] / total == pytest.approx(0.75, abs=0.02)
    assert counts[0] / total == pytest.approx(0.125, abs=0.02)
    assert set(counts) == {0, 1, 7}


def test_ratio_is_over_the_origins_that_a_sample_has():
    picks = DataOrder(choices(50, weights={"web": 1, "human": 3}, texts={"web": [4]}), 50).batch(0)
    assert {pick.text for pick in picks} == {4}


def test_flips_half_and_only_when_asked():
    flips = [pick.flip for step in range(100) for pick in DataOrder(choices(flip=True), 23).batch(step)]
    assert sum(flips) / len(flips) == pytest.approx(0.5, abs=0.05)
    assert not any(pick.flip for step in range(10) for pick in DataOrder(choices(), 23).batch(step))


def test_validation_order_is_the_splits_own_and_never_mirrored():
    picks = in_order(choices(flip=True))
    assert [pick.row for pick in picks] == list(range(100, 123))
    assert not any(pick.flip for pick in picks)
