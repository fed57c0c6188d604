"""Kills and faults at chosen steps: a step is a change of a file's name or the opening of one for writing.

Nothing in the program is prepared for it. A forked child, which cannot spoil the test's process, watches Python's own
audit events, which come *before* a step is done, and at the chosen one dies or meets an error.
"""

import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any

STEPS = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.truncate", "os.symlink"}
KILLS = {"killed": 0, "as promised": 0}


def num_steps(work: Callable[[], Any]) -> int:
    """How many steps a quiet run takes; it is done, by a child."""
    reading, writing = os.pipe()

    def counted() -> None:
        seen = watch(lambda number, event, arguments: None)
        work()
        os.write(writing, str(seen[0]).encode())

    status = in_child(counted)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    assert status == 0, f"the quiet run failed: {status}"
    return int(text)


def run_killed(work: Callable[[], Any], number: int, kill: int = signal.SIGKILL) -> int:
    """Work in a child that gets a signal before its step of a number, counted from 1; how the child ended."""

    def killed(step: int, event: str, arguments: tuple[Any, ...]) -> None:
        if step == number:
            os.kill(os.getpid(), kill)

    def watched() -> None:
        watch(killed)
        work()

    status = in_child(watched)
    KILLS["killed"] += status < 0 or kill != signal.SIGKILL
    return status


def run_faulty(work: Callable[[], Any], number: int, code: int) -> tuple[int, str]:
    """Work in a child to which the system says an error at a step, and at all later ones; its exit and what it said."""

    def faulty(step: int, event: str, arguments: tuple[Any, ...]) -> None:
        if step >= number and event != "os.remove" and event != "os.rmdir":
            raise OSError(code, os.strerror(code), next((each for each in arguments if isinstance(each, str)), None))

    def watched() -> None:
        watch(faulty)
        work()

    reading, writing = os.pipe()
    status = in_child(watched, stderr=writing)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        return status, pipe.read()


def in_child(work: Callable[[], Any], stderr: int | None = None) -> int:
    """Work in a forked child; 0, its exit status, or minus the signal that ended it."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            if stderr is not None:
                os.dup2(stderr, 2)
                sys.stderr = os.fdopen(os.dup(2), "w")
            work()
            status = 0
        except SystemExit as error:
            if isinstance(error.code, str):
                print(error.code, file=sys.stderr)
            status = 1 if isinstance(error.code, str) else error.code or 0
        except BaseException:
            traceback.print_exc(file=sys.stderr)
        finally:
            sys.stderr.flush()
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def watch(tell: Callable[[int, str, tuple[Any, ...]], None]) -> list[int]:
    """Call `tell` with the number of each step from here on, its event, and what it is about; there is no way back."""
    seen = [0]

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        is_opened = event == "open" and isinstance(arguments[0], str) and is_writing(arguments)
        if event in STEPS or is_opened:
            seen[0] += 1
            tell(seen[0], event, arguments)

    sys.addaudithook(hook)
    return seen


def is_writing(arguments: tuple[Any, ...]) -> bool:
    """Whether an `open` event is for writing: by its mode, or by the flags of `os.open`."""
    path, _, flags = arguments
    if path.startswith(("/dev/", "/proc/")):
        return False
    return bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
