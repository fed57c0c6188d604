"""Work on samples that goes on without those that it fails on: whatever one of them raises becomes its row.

Captions, facts and pixels come from strangers, and no list of what they make a library raise is complete. What is our
own mistake stays visible: it is logged with its place, and where it spoils more than the allowed share of the samples
the stage fails.
"""

import logging
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from pipelines.shared.memory import is_out_of_memory

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")
SAMPLE_ERROR = "sample_error"
"""The reason of a sample on which work raised what nobody foresaw."""
MOST_LINES = 10
logger = logging.getLogger("vignette.samples")


class Trouble:
    """What goes wrong with samples of one shard, logged the first few times of each kind."""

    def __init__(self) -> None:
        """Nothing went wrong yet."""
        self.counts: Counter[tuple[str, str]] = Counter()

    def note(self, key: str, by: str, error: BaseException) -> None:
        """Log a failure: the sample's key, what failed, the type of the exception and where it was raised.

        Its message is left out: it may hold whatever the sample holds.
        """
        kind = (by, type(error).__name__)
        self.counts[kind] += 1
        if self.counts[kind] > MOST_LINES:
            return
        place = traceback.extract_tb(error.__traceback__)[-1:]
        at = "".join(f" at {Path(frame.filename).name}:{frame.lineno}" for frame in place)
        last = ", further ones of this shard are only counted" if self.counts[kind] == MOST_LINES else ""
        logger.warning("sample %s: %s failed with %s%s%s", key, by, kind[1], at, last)


def isolated(
    items: Sequence[ItemT],
    work: Callable[[Sequence[ItemT]], list[ResultT]],
    failed: Callable[[ItemT, Exception], ResultT],
) -> list[ResultT]:
    """Do work on a batch; if it raises, on its halves, down to the single items that it fails on.

    Args:
        items: The batch.
        work: One result per item, in order.
        failed: The result of an item that the work fails on alone.

    Returns:
        One result per item, in order.

    Raises:
        Exception: Memory did not suffice; see `memory`.
    """
    try:
        return work(items) if items else []
    except Exception as error:
        if is_out_of_memory(error):
            raise
        if len(items) == 1:
            return [failed(items[0], error)]
    half = len(items) // 2
    return [result for part in (items[:half], items[half:]) for result in isolated(part, work, failed)]
