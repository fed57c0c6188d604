"""Processes that end together: a child dies with its parent, however that ends; Linux alone has the means.

The system ends a child when the *thread* that started it does. So children that outlive a piece of work are started by
a thread that lives as long as the process. A child asks for it itself, first of all that it does, and then looks
whether its parent is still there.
"""

import ctypes
import functools
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1
PARENT = "VIGNETTE_PARENT"


def spawn(words: Sequence[str], **settings: Any) -> "subprocess.Popen[bytes]":
    """Start a program of ours that calls `end_with_parent` first; `settings` are those of `subprocess.Popen`."""
    environment = {**(settings.pop("env", None) or os.environ), PARENT: str(os.getpid())}

    def start() -> "subprocess.Popen[bytes]":
        return subprocess.Popen(words, env=environment, **settings)

    return _starter(os.getpid()).submit(start).result()


def end_with_parent(parent: int | None = None) -> None:
    """In a child: end at once when the parent does, and leave Ctrl-C and SIGTERM to it.

    A terminal or a service manager sends these signals to all processes. A child that obeyed would end before its
    parent knows why, and its end would be taken for the fault of what it was working on.

    Args:
        parent: Its process id; what `spawn` said when None.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    expected = parent or int(os.environ.get(PARENT, "0"))
    kill_me_with_parent()
    if expected and os.getppid() != expected:
        os._exit(1)


def kill_me_with_parent() -> None:
    """Ask the system for SIGKILL when the thread that started this process ends."""
    if sys.platform == "linux":
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


@functools.cache
def _starter(process: int) -> ThreadPoolExecutor:
    """A thread for each process: a forked one has none of its parent's."""
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="starter")
