"""Linux's inotify: every file under a folder that any process opens or changes, in whatever language.

The folder is a private copy, so whatever happens in it is the stage's doing. Folders that are made later are not
watched: they hold outputs. Memory maps are seen too, as the file is opened first.
"""

import ctypes
import os
import select
import struct
import sys
from pathlib import Path

IN_MODIFY, IN_MOVED_FROM, IN_MOVED_TO, IN_CREATE, IN_DELETE = 0x2, 0x40, 0x80, 0x100, 0x200
IN_OPEN, IN_Q_OVERFLOW, IN_ONLYDIR, IN_ISDIR = 0x20, 0x4000, 0x1000000, 0x40000000
CHANGES = IN_MODIFY | IN_MOVED_FROM | IN_MOVED_TO | IN_CREATE | IN_DELETE
EVENT = struct.Struct("iIII")
BUFFER_BYTES = 1 << 16


class Watch:
    """Collects what is opened and changed under a folder, from its construction on.

    Attributes:
        complete: Whether all was seen: false where there is no inotify, or its queue ran over.
        opened: Files that were opened, relative to the folder.
        changed: Files and folders that were written, made, moved or removed, relative to the folder.
    """

    def __init__(self, folder: Path) -> None:
        """Watch a folder and all folders in it.

        Raises:
            ValueError: The system allows no more watches.
        """
        self.folder = folder
        self.complete = sys.platform == "linux"
        self.opened: set[str] = set()
        self.changed: set[str] = set()
        self._folders: dict[int, Path] = {}
        self._queue = -1
        if not self.complete:
            return
        libc = ctypes.CDLL(None, use_errno=True)
        self._queue = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        for here, _, _ in os.walk(folder):
            watch = libc.inotify_add_watch(self._queue, os.fsencode(here), IN_OPEN | CHANGES | IN_ONLYDIR)
            if watch < 0:
                error = os.strerror(ctypes.get_errno())
                self.close()
                raise ValueError(f"{here} cannot be watched: {error}; see /proc/sys/fs/inotify")
            self._folders[watch] = Path(here).relative_to(folder)

    def collect(self, wait_sec: float) -> None:
        """Take up what happened so far.

        Args:
            wait_sec: How long to wait for it to happen.
        """
        if self._queue < 0:
            select.select([], [], [], wait_sec)
            return
        while select.select([self._queue], [], [], wait_sec)[0]:
            self._take(os.read(self._queue, BUFFER_BYTES))
            wait_sec = 0

    def close(self) -> None:
        """Watch no longer."""
        if self._queue >= 0:
            os.close(self._queue)
        self._queue = -1

    def _take(self, events: bytes) -> None:
        start = 0
        while start < len(events):
            watch, mask, _, length = EVENT.unpack_from(events, start)
            start += EVENT.size
            name = os.fsdecode(events[start : start + length].rstrip(b"\0"))
            start += length
            self.complete &= not mask & IN_Q_OVERFLOW
            if not name:
                continue
            path = (self._folders[watch] / name).as_posix()
            if mask & CHANGES:
                self.changed.add(path)
            elif not mask & IN_ISDIR:
                self.opened.add(path)
