"""A folder put in the place of another one, so that neither is ever seen half written."""

import shutil
from pathlib import Path

from pipelines.shared.files import sync_folder


def replace_folder(new: Path, target: Path) -> None:
    """Give a finished folder its final name; what was there is removed.

    A kill between the two renames leaves no folder of that name, and never a mixture.

    Args:
        new: The finished folder, on the same file system.
        target: Its final name.
    """
    before = new.with_name(f"{new.name}.before")
    if before.exists():
        shutil.rmtree(before)
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        target.rename(before)
    new.rename(target)
    sync_folder(target.parent)
    if before.exists():
        shutil.rmtree(before)
