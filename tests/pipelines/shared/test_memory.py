import pytest
import torch

from pipelines.shared.memory import in_batches_that_fit, is_out_of_memory


class Worker:
    """Doubles numbers; batches above a size, and some numbers, do not fit."""

    def __init__(self, most: int, error: BaseException, never: tuple[int, ...] = ()) -> None:
        self.most, self.error, self.never = most, error, never
        self.batches: list[int] = []

    def __call__(self, items):
        self.batches.append(len(items))
        if len(items) > self.most or set(items) & set(self.never):
            raise self.error
        return [2 * item for item in items]


ERRORS = [
    MemoryError("no more"),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_smaller_batches(error):
    worker = Worker(3, error)
    assert in_batches_that_fit(range(10), worker, lambda item: -1) == [2 * item for item in range(10)]
    assert worker.batches == [10, 5, 2, 3, 5, 2, 3]
    assert is_out_of_memory(error)


def test_what_does_not_fit_alone_fails_alone():
    worker = Worker(10, MemoryError(), never=(4,))
    assert in_batches_that_fit(range(7), worker, lambda item: -item) == [0, 2, 4, 6, -4, 10, 12]


def test_a_batch_that_fits_stays_whole():
    worker = Worker(10, MemoryError())
    in_batches_that_fit(range(10), worker, lambda item: -1)
    assert worker.batches == [10]
    assert in_batches_that_fit([], worker, lambda item: -1) == []


def test_a_real_allocation_that_cannot_be():
    def work(items):
        return [int(torch.empty(2**60 if item == 1 else 1, dtype=torch.int8).numel()) for item in items]

    assert in_batches_that_fit([0, 1, 2], work, lambda item: -1) == [1, -1, 1]


@pytest.mark.parametrize("error", [RuntimeError("shapes do not fit"), ValueError("wrong")])
def test_other_errors_are_not_hidden(error):
    with pytest.raises(type(error)):
        in_batches_that_fit(range(4), Worker(0, error), lambda item: -1)
    assert not is_out_of_memory(error)


def test_what_other_libraries_say():
    class FailError(Exception):
        """As ONNX Runtime's, whose exceptions are no RuntimeErrors."""

    texts = ("Failed to allocate memory for requested buffer of size 8", "CUDA error: CUBLAS_STATUS_ALLOC_FAILED")
    for error in map(FailError, texts):
        assert in_batches_that_fit(range(4), Worker(2, error), lambda item: -1) == [0, 2, 4, 6]
    wrapped = ValueError("wrong")
    wrapped.__cause__ = MemoryError()
    assert is_out_of_memory(wrapped)
