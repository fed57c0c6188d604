"""Progress bars: often on a terminal, a line every ten seconds in a log."""

import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

LOG_INTERVAL_SEC = 10.0
TERMINAL_INTERVAL_SEC = 0.2


def is_drawn() -> bool:
    """Whether a bar stands unfinished on the last line of standard error."""
    return bool(getattr(tqdm, "_instances", ()))


def progress(items: Iterable[Any] | None = None, **settings: Any) -> tqdm:
    """A tqdm bar whose rate of refresh suits where it is written."""
    interval = TERMINAL_INTERVAL_SEC if sys.stderr.isatty() else LOG_INTERVAL_SEC
    return tqdm(items, mininterval=interval, **settings)
