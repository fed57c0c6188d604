"""Requests to stop: Ctrl-C and SIGTERM are noted and honoured between two steps."""

import signal
from contextlib import AbstractContextManager
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequests(AbstractContextManager["StopRequests"]):
    """Notes the first signal; a second one ends the process at once.

    Attributes:
        requested: Whether a signal came.
    """

    def __init__(self) -> None:
        """Nothing is changed before the block is entered."""
        self.requested = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "StopRequests":
        """Takes over the signals."""
        self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Gives them back."""
        self._give_back()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        self._give_back()

    def _give_back(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
