import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.shared.isolating import MOST_LINES, Trouble, isolated


class Worker:
    """Doubles numbers, but not some of them."""

    def __init__(self, never, error: type[Exception] = ValueError) -> None:
        self.never, self.error = set(never), error
        self.batches: list[int] = []

    def __call__(self, items):
        self.batches.append(len(items))
        if self.never & set(items):
            raise self.error("no")
        return [2 * item for item in items]


@given(st.lists(st.integers(), unique=True), st.data())
def test_only_the_items_that_it_fails_on_are_without_a_result(items, data):
    never = data.draw(st.sets(st.sampled_from(items))) if items else set()
    found = isolated(items, Worker(never), lambda item, error: type(error).__name__)
    assert found == ["ValueError" if item in never else 2 * item for item in items]


def test_a_batch_without_trouble_is_not_cut():
    worker = Worker(())
    isolated(range(9), worker, lambda item, error: None)
    assert worker.batches == [9]


def test_one_of_many_costs_few_calls():
    worker = Worker((5,))
    isolated(range(64), worker, lambda item, error: None)
    assert len(worker.batches) <= 13  # a batch, then two halves at each of six levels


def test_memory_is_no_items_fault():
    with pytest.raises(MemoryError):
        isolated([1, 2], Worker((1,), MemoryError), lambda item, error: None)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_process_ends_it(error):
    with pytest.raises(error):
        isolated([1], Worker((1,), error), lambda item, error: None)


def raised(message: str) -> Exception:
    try:
        raise TypeError(message)
    except TypeError as error:
        return error


def test_a_line_has_key_place_and_type_and_nothing_of_the_sample(caplog):
    caplog.set_level(logging.WARNING)
    Trouble().note("ab12", "image_stats", raised("\x1b[31m <script>"))
    (line,) = caplog.messages
    assert line.startswith("sample ab12: image_stats failed with TypeError at test_isolating.py:")
    assert "script" not in line and "\x1b" not in line


def test_lines_are_bounded_for_each_kind(caplog):
    caplog.set_level(logging.WARNING)
    trouble = Trouble()
    for number in range(3 * MOST_LINES):
        trouble.note(str(number), "a", raised("x"))
    trouble.note("0", "b", raised("x"))
    assert len(caplog.messages) == MOST_LINES + 1
    assert caplog.messages[MOST_LINES - 1].endswith("further ones of this shard are only counted")
    assert trouble.counts["a", "TypeError"] == 3 * MOST_LINES
