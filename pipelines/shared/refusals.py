"""What ends a command, in one line: a user's mistake or what the system said, wherever it was raised.

A worker tells the stage in one of two ways. On this machine it does not fail: Beam would print the traceback of every
worker. It counts the message, as the name of one of Beam's counters, which needs no disk. A cluster must hear of a
failure, to try the task again; there the message travels inside the text of the exception, between two marks.
"""

import base64
import errno
import os
import re
from typing import Any

NAMESPACE = "vignette-refusals"
MARKED = re.compile(r"<vignette:([A-Za-z0-9+/=]+)>")
ROOM = "make room there"
ADVICE = {
    errno.ENOSPC: ROOM,
    errno.EDQUOT: ROOM,
    errno.EFBIG: "this process may not write files that large (ulimit -f)",
    errno.EIO: "the disk or the way to it fails, the system's log says more",
    errno.EROFS: "mount it for writing",
    errno.EACCES: "give this user the right to it",
    errno.EPERM: "give this user the right to it",
    errno.EMFILE: "allow more open files (ulimit -n)",
}
GOES_ON = "the same command goes on from here"


class RefusedError(ValueError):
    """A refusal on its way through a runner: people read the message, the stage finds it by the marks."""

    def __init__(self, message: str) -> None:
        super().__init__(f"{message} <vignette:{base64.b64encode(message.encode()).decode()}>")

    def __reduce__(self) -> tuple[type["RefusedError"], tuple[str]]:
        """It may be pickled."""
        return RefusedError, (str(marked(str(self))),)


def marked(text: str) -> str | None:
    """The message between marks, in whatever a runner made of the exception."""
    found = MARKED.search(text)
    return base64.b64decode(found[1]).decode() if found else None


def line_of(error: BaseException) -> str:
    """One line for an error: what is wrong, with its path, and what to do."""
    if not isinstance(error, OSError) or error.errno is None:
        return " ".join(str(error).split())
    said = os.strerror(error.errno) if error.errno in ADVICE else error.strerror or str(error)
    paths = " -> ".join(os.fsdecode(name) for name in (error.filename, error.filename2) if name is not None)
    advice = f": {ADVICE[error.errno]}, {GOES_ON}" if error.errno in ADVICE else ""
    return " ".join(f"{paths}{': ' if paths else ''}{said}{advice}".split())


def count(message: str) -> None:
    """In a task: leave a message for the stage."""
    from apache_beam.metrics import Metrics

    Metrics.counter(NAMESPACE, message).inc()


def counted(result: Any) -> list[str]:
    """The messages of a pipeline's result, sorted."""
    from apache_beam.metrics import MetricsFilter

    found = result.metrics().query(MetricsFilter().with_namespace(NAMESPACE))
    return sorted({each.key.metric.name for each in found["counters"]})
