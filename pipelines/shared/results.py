"""Results of tasks, as files in a scratch folder: one counts only if the files that it names are there and whole."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.shared.shards import FileInfo

FILE_RESULTS = ("shard", "layer", "verdicts")


def result_path(scratch: Path, name: str) -> Path:
    """Where the result of a task is kept."""
    return scratch / f"{name}.json"


def result_files(result: Mapping[str, Any]) -> list[FileInfo]:
    """The files that a task's result names."""
    return [FileInfo(**result[name]) for name in FILE_RESULTS if name in result]


def drop_damaged(scratch: Path) -> int:
    """Remove every result below a folder whose files are not all there with the sha256 that it says, or that is cut.

    Returns:
        How many were removed; their tasks are done again.
    """
    damaged = [path for path in sorted(scratch.rglob("*.json")) if not _is_whole(path, scratch)]
    for path in damaged:
        path.unlink(missing_ok=True)
    return len(damaged)


def _is_whole(path: Path, scratch: Path) -> bool:
    try:
        result = json.loads(path.read_bytes())
        if isinstance(result, dict):
            for info in result_files(result):
                info.check(scratch)
    except (OSError, ValueError, TypeError):
        return False
    return True
