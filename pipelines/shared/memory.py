"""Work on a batch that goes on in smaller batches where memory does not suffice."""

import logging
import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")
REASON = "out_of_memory"
MESSAGES = (
    "can't allocate memory",  # PyTorch on a CPU
    "not enough memory",
    "CUDA error: out of memory",
    "_STATUS_ALLOC_FAILED",  # cuBLAS and cuDNN
    "Failed to allocate",  # ONNX Runtime and OpenCV
    "bad_alloc",
)
logger = logging.getLogger("vignette.memory")


def in_batches_that_fit(
    items: Sequence[ItemT],
    work: Callable[[Sequence[ItemT]], list[ResultT]],
    failed: Callable[[ItemT], ResultT],
) -> list[ResultT]:
    """Do work on a batch; if memory runs out, on its halves, down to single items.

    A batch that fits is worked on as it is, so results change by no more than rounding in smaller batches does, and
    only where memory did run out. What is caught is what a process is told of: Python's `MemoryError`, and what
    PyTorch, ONNX Runtime and OpenCV raise. A process that the system kills is not told.

    Args:
        items: The batch.
        work: One result per item, in order.
        failed: The result of an item that does not fit alone.

    Returns:
        One result per item, in order.
    """
    try:
        return work(items) if items else []
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        logger.warning("out of memory with a batch of %d: %s", len(items), " ".join(str(error).split())[:200])
    _free()  # here the exception is gone, and with it the frames that hold the batch
    if len(items) == 1:
        return [failed(items[0])]
    half = len(items) // 2
    return [result for part in (items[:half], items[half:]) for result in in_batches_that_fit(part, work, failed)]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception, or the one it was raised from, says that memory, also of a GPU, did not suffice."""
    if error.__cause__ is not None and is_out_of_memory(error.__cause__):
        return True
    torch = sys.modules.get("torch")
    kinds = (MemoryError,) if torch is None else (MemoryError, torch.OutOfMemoryError)
    return isinstance(error, kinds) or any(text in str(error) for text in MESSAGES)


def _free() -> None:
    """Give back what PyTorch keeps of a GPU's memory."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
