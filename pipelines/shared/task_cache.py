"""Finished tasks of earlier runs, by the digest of all that decides them: what did not change is not done again.

`.vignette/cache/tasks` has a small file for each task: its result, with the names and digests of the files that it
wrote. `.vignette/cache/files` has those files by their sha256, as hard links where the file system allows it, so that
what is also published takes no space twice. Both are checked when they are used; what is damaged or missing is removed
and the task is done again. A task's file is written after those that it names, so a kill leaves nothing that counts.

Kept is what was used in the last `MAX_AGE_DAYS` days, the last used first, up to `VIGNETTE_CACHE_GIB` (64) in all. So
are the answers of model servers in `.vignette/cache/answers`, a file each; they are counted by themselves, so that
large shards do not displace small answers that cost money. `VIGNETTE_NO_CACHE=1` turns the cache off: nothing is taken
from it and nothing is put there.
"""

import fcntl
import json
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.shared.files import digest_json, link_or_copy, write_json
from pipelines.shared.jobs import Task
from pipelines.shared.manifests import Counts, total
from pipelines.shared.memory import REASON
from pipelines.shared.results import result_files, result_path
from pipelines.shared.shards import FileInfo
from pipelines.shared.stage import STATE, StageRun

MAX_AGE_DAYS = 90.0
DEFAULT_GIB = "64"
logger = logging.getLogger("vignette.cache")


@dataclass(frozen=True, slots=True)
class Kept:
    """Something in the cache.

    Attributes:
        path: The file that stands for it.
        used_sec: When it was last used, in seconds since 1970.
        files: What it keeps, by size in bytes.
    """

    path: Path
    used_sec: float
    files: Mapping[Path, int]


class TaskCache:
    """The cache in a folder."""

    def __init__(self, folder: Path = STATE / "cache") -> None:
        """Nothing is read or made yet."""
        self.folder = folder
        self.is_on = os.environ.get("VIGNETTE_NO_CACHE", "0") in ("", "0")

    @property
    def answers(self) -> Path | None:
        """Folder of a model server's answers, one file each; using one sets its time. None where the cache is off."""
        return self.folder / "answers" if self.is_on else None

    def result(self, digest: str) -> dict[str, Any] | None:
        """The result of a task, if it is there; its files are not looked at. An empty digest is never there."""
        path = self._task_path(digest)
        if not (self.is_on and digest and path.exists()):
            return None
        try:
            values = json.loads(path.read_bytes())
            if values["sha256"] == digest_json(values["result"]):
                return dict(values["result"])
        except (OSError, ValueError, KeyError, TypeError):
            pass
        path.unlink(missing_ok=True)
        return None

    def take(self, digest: str, target: Path) -> bool:
        """Put a task's files beside `target` and its result into it; False if they are not there, whole."""
        if self.result(digest) is None:
            return False
        with self._locked(fcntl.LOCK_SH):
            return self._taken(digest, target)

    def _taken(self, digest: str, target: Path) -> bool:
        result = self.result(digest)
        if result is None:
            return False
        paths = {info.name: self.file(info) for info in result_files(result)}
        for name, path in paths.items():
            if path is None:
                self._task_path(digest).unlink(missing_ok=True)
                return False
            link_or_copy(path, target.parent / name)
        write_json(target, result)
        with suppress(FileNotFoundError):  # another stage that takes it has found it damaged
            os.utime(self._task_path(digest))
        return True

    def file(self, info: FileInfo) -> Path | None:
        """A file that is kept, after its sha256 has been checked."""
        path = self._file_path(info)
        if not (self.is_on and path.exists()):
            return None
        try:
            kept = FileInfo(name=path.name, num_samples=0, num_bytes=info.num_bytes, sha256=info.sha256)
            return kept.check(path.parent)
        except (OSError, ValueError):
            path.unlink(missing_ok=True)
            return None

    def keep(self, tasks: Mapping[str, Mapping[str, Any]], scratch: Path) -> None:
        """Keep results of tasks by their digests, with their files, which lie in the scratch folder; then tidy up."""
        if not self.is_on:
            return
        with self._locked():
            for digest, result in tasks.items():
                for info in result_files(result):
                    if not self._is_there(info):
                        link_or_copy(scratch / info.name, self._file_path(info))
                if self.result(digest) != result:
                    write_json(self._task_path(digest), {"result": result, "sha256": digest_json(result)})
            self._trim(max_cache_bytes())

    def _trim(self, max_bytes: float) -> None:
        """Forget tasks and answers that are too many; remove files that no task names."""
        tasks = []
        for path in (self.folder / "tasks").glob("*/*.json"):
            if (result := self.result(path.stem)) is not None:
                files = {self._file_path(info): info.num_bytes for info in result_files(result)}
                tasks.append(Kept(path, path.stat().st_mtime, files))
        named = forget_surplus(tasks, max_bytes)
        answers = []
        for path in (self.folder / "answers").glob("*/*"):
            with suppress(FileNotFoundError):  # a worker has just given it its name
                stat = path.stat()
                answers.append(Kept(path, stat.st_mtime, {path: stat.st_size}))
        forget_surplus(answers, max_bytes)
        for file in (self.folder / "files").glob("*/*"):  # those that a killed run was writing among them
            if file not in named:
                file.unlink(missing_ok=True)

    def _is_there(self, info: FileInfo) -> bool:
        path = self._file_path(info)
        return path.exists() and path.stat().st_size == info.num_bytes

    def _task_path(self, digest: str) -> Path:
        return self.folder / "tasks" / digest[:2] / f"{digest}.json"

    def _file_path(self, info: FileInfo) -> Path:
        return self.folder / "files" / info.sha256[:2] / info.sha256

    @contextmanager
    def _locked(self, how: int = fcntl.LOCK_EX) -> Iterator[None]:
        """One at a time, or all that only take: what a stage puts there or takes is not tidied up by another."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as handle:
            fcntl.flock(handle, how)
            yield


def forget_surplus(all_kept: Sequence[Kept], max_bytes: float) -> set[Path]:
    """Remove what was not used for long, and what does not fit beside all that was used later.

    Returns:
        The files of the rest.
    """
    oldest_sec = time.time() - MAX_AGE_DAYS * 86400
    files: set[Path] = set()
    num_bytes = 0
    for kept in sorted(all_kept, key=lambda kept: -kept.used_sec):
        num_bytes += sum(size for file, size in kept.files.items() if file not in files)
        if kept.used_sec < oldest_sec or num_bytes > max_bytes:
            kept.path.unlink(missing_ok=True)
        else:
            files.update(kept.files)
    return files


def take_results(run: StageRun, tasks: Sequence[Task], scratch: Path) -> None:
    """Put the results of tasks that are in the cache, and their files, where `run_tasks` finds them done."""
    cache = TaskCache()
    waiting = [task for task in tasks if not result_path(scratch, task.name).exists()]
    taken = sum(cache.take(task.digest, result_path(scratch, task.name)) for task in waiting)
    if taken:
        logger.info("%s %s: %d of %d shards come from the cache", run.stage, run.key, taken, len(tasks))


def keep_results(tasks: Sequence[Task], results: Sequence[Mapping[str, Any]], scratch: Path) -> None:
    """Put the results of tasks that have a digest, and the files that they name, into the cache.

    What memory did not suffice for today may fit tomorrow: those results are not kept.
    """
    pairs = zip(tasks, results, strict=True)
    done = {task.digest: result for task, result in pairs if task.digest and REASON not in result.get("failed", ())}
    TaskCache().keep(done, scratch)


def checked_counts(
    tasks: Sequence[Task], results: Sequence[Mapping[str, Any]], scratch: Path, max_failed_frac: float, where: str
) -> Counts:
    """Where every sample of tasks went that write a layer and count what failed.

    Raises:
        ValueError: Too many failed. Tasks with failures are then not taken for done by the next run.
    """
    counts = total(
        Counts(
            num_in=result["layer"]["num_samples"],
            kept=result["layer"]["num_samples"] - sum(result["failed"].values()),
            failed=result["failed"],
        )
        for result in results
    )
    with forgetting_failures(tasks, results, scratch):
        counts.check_failures(max_failed_frac, where)
    return counts


@contextmanager
def forgetting_failures(tasks: Sequence[Task], results: Sequence[Mapping[str, Any]], scratch: Path) -> Iterator[None]:
    """If the block refuses the results, tasks with failures are not taken for done by the next run."""
    try:
        yield
    except ValueError:
        for task, result in zip(tasks, results, strict=True):
            if result["failed"]:
                result_path(scratch, task.name).unlink()
        raise


def max_cache_bytes() -> float:
    """How large the cache may be.

    Raises:
        ValueError: The environment's `VIGNETTE_CACHE_GIB` is not a number from 0.
    """
    text = os.environ.get("VIGNETTE_CACHE_GIB", DEFAULT_GIB)
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not number >= 0:
        raise ValueError(f"VIGNETTE_CACHE_GIB must be a number from 0, got {text!r}")
    return number * 2**30
