"""Politeness between all workers of one machine: requests to one host start at least a stated time apart.

A host's next free moment is a number in a small file, read and moved forward under a lock that is held for
microseconds; every process of the machine sees it. Workers on other machines keep their own.
"""

import asyncio
import fcntl
import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

MOST_SEC = 3600.0


class Pace:
    """Turns at hosts."""

    def __init__(self, folder: Path) -> None:
        """`folder` holds one small file per host; it is made when the first one is needed."""
        self.folder = folder

    async def turn(self, host: str, delay_sec: float) -> None:
        """Wait until it is our turn at a host; the next turn comes `delay_sec` later at the earliest."""
        while True:
            start = self._take(host, delay_sec)
            if (wait_sec := start - time.time()) > 0:
                await asyncio.sleep(wait_sec)
            if not self._is_held(host):
                return

    def hold(self, host: str, pause_sec: float) -> None:
        """Nobody's turn comes at a host before a pause has passed."""
        until = time.time() + pause_sec
        with self._locked(host) as handle:
            following, held = _read(handle)
            _write(handle, max(following, until), max(held, until))

    def _take(self, host: str, delay_sec: float) -> float:
        """Take the next free moment and put the following one behind it."""
        now = time.time()
        with self._locked(host) as handle:
            following, held = _read(handle)
            start = max(now, min(following, now + MOST_SEC))
            _write(handle, start + delay_sec, held)
        return start

    def _is_held(self, host: str) -> bool:
        with self._locked(host) as handle:
            return time.time() < _read(handle)[1] < time.time() + MOST_SEC

    @contextmanager
    def _locked(self, host: str) -> Iterator[TextIO]:
        path = self.folder / hashlib.sha256(host.encode()).hexdigest()[:20]
        self.folder.mkdir(parents=True, exist_ok=True)
        path.touch()
        with path.open("r+") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield handle
            handle.flush()


def _read(handle: TextIO) -> tuple[float, float]:
    """Next free moment and end of a pause; zeros in a new file, or in one whose writer was killed."""
    following, _, held = handle.read().partition(" ")
    try:
        return float(following), float(held)
    except ValueError:
        return 0.0, 0.0


def _write(handle: TextIO, following: float, held: float) -> None:
    handle.seek(0)
    handle.write(f"{following:.6f} {held:.6f}")
    handle.truncate()
