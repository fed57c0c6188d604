"""In every Python process of a traced stage: an audit hook that notes which files are opened, and where in the code.

`install` is called at the start of each process by the `sitecustomize` that `tracing` puts on its path, children
included. What is noted are lines of JSON: kind, what, and the line of the project's code. What libraries open without
Python (Parquet, safetensors) is seen by `watching`. Only the standard library is imported, so that nothing is opened
unseen.
"""

import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

LOG = "VIGNETTE_OBSERVED_LOG"
ROOT = "VIGNETTE_OBSERVED_ROOT"
OPENED, WROTE, SETTING = "opened", "wrote", "setting"
OWN = "pipelines/shared/doctoring/"
HELPERS = ("pipelines/shared/params.py", "pipelines/shared/stage.py", "pipelines/shared/files.py")
Note = Callable[[str, str], None]


def install() -> None:
    """Note every file under the project that this process opens from now on."""
    root, note = os.environ[ROOT], notes(os.environ[LOG], os.environ[ROOT])

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event != "open" or isinstance(arguments[0], int):
            return
        path = os.path.normpath(Path(os.fsdecode(arguments[0])).absolute())
        if not path.startswith(root + os.sep):
            return
        writes = bool(arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
        if writes and Path(path).is_file() and Path(path).stat().st_nlink > 1:
            raise PermissionError(f"{path} is an input, and would be changed in the project itself")
        note(WROTE if writes else OPENED, path[len(root) + 1 :])

    sys.addaudithook(hook)


def notes(log: str, root: str) -> Note:
    """What appends a line to the log, once for each kind and thing."""
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    seen: set[tuple[str, str]] = set()

    def note(kind: str, what: str) -> None:
        if (kind, what) not in seen:
            seen.add((kind, what))
            with suppress(OSError):  # of a sandbox that may write no file; what it opens, `watching` sees
                os.write(descriptor, (json.dumps([kind, what, place(root)]) + "\n").encode())

    return note


def place(root: str) -> str:
    """`file:line` of the project's code that is running, of its helpers only if nothing else is; empty if none is."""
    found = []
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(root + os.sep) and not file.startswith((OWN, "<"), len(root) + 1):
            found.append(f"{file[len(root) + 1 :]}:{frame.f_lineno}")
        frame = frame.f_back
    return next((name for name in found if not name.startswith(HELPERS)), next(iter(found), ""))
