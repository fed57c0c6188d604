"""A folder put in the place of another one, so that neither is ever seen half written."""

import ctypes
import errno
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.shared.files import clear_folder, remove_folder, sync_folder

AT_FDCWD = -100
RENAME_EXCHANGE = 2


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """An empty folder beside `target` that takes its place when the block ends without an exception.

    Until then `target` is as it was, and so it stays if the block fails. What a kill left is removed by the next call.
    """
    target = target.resolve() if target.is_symlink() else target
    new = target.with_name(f".{target.name}.new")
    before = _before(new)
    if before.exists() and not target.exists():
        before.rename(target)
    clear_folder(new)
    try:
        yield new
        for folder, _, _ in os.walk(new):
            sync_folder(Path(folder))
    except BaseException:
        remove_folder(new)
        raise
    replace_folder(new, target)


def replace_folder(new: Path, target: Path) -> None:
    """Give a finished folder its final name; what was there is removed.

    Where the system can let two names change places, a kill leaves the one folder or the other under the name.
    Elsewhere a kill between two renames leaves none, and never a mixture.

    Args:
        new: The finished folder, on the same file system.
        target: Its final name.
    """
    before = _before(new)
    remove_folder(before)
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        new.rename(target)
    elif exchange(new, target):
        before = new
    else:
        _rename_aside(target, before)
        new.rename(target)
    sync_folder(target.parent)
    remove_folder(before)


def exchange(first: Path, second: Path) -> bool:
    """Let two names change places in one step; False where the system or the file system cannot."""
    libc = ctypes.CDLL(None, use_errno=True)
    if sys.platform != "linux" or not hasattr(libc, "renameat2"):
        return False
    names = AT_FDCWD, os.fsencode(first), AT_FDCWD, os.fsencode(second)
    return libc.renameat2(*names, RENAME_EXCHANGE) == 0


def _rename_aside(target: Path, before: Path) -> None:
    """A folder of an image's lower layer cannot be renamed, only removed."""
    try:
        target.rename(before)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        shutil.rmtree(target)


def _before(new: Path) -> Path:
    return new.with_name(f"{new.name}.before")
