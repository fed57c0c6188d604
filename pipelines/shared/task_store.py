"""Tasks on machines that do not see the project's folder: what they read and write goes through a store.

The store is a folder on another file system, `params.yaml` `store: s3://bucket/prefix`. `files/` in it has what tasks
read and write by its sha256, so that nothing is sent twice; `scratch/<stage>/<key>/<fingerprint>/` has the results of a
job's finished tasks, each written after the files that it names. A killed job goes on from there. Whoever takes a file
from the store compares its sha256.
"""

import fcntl
import json
import os
import shutil
import tempfile
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.shared.files import digest_json, write_json
from pipelines.shared.jobs import Task
from pipelines.shared.loading import LoadedOnce
from pipelines.shared.params import plugin_files
from pipelines.shared.results import result_files, result_path
from pipelines.shared.shards import FileInfo, describe
from pipelines.shared.stage import STATE, StageRun
from pipelines.shared.storage import RemoteFolder, in_parallel, is_url

PACE = STATE / "pace"
WORKPLACE = "vignette-work-"
SIGN = ".in-use"


@dataclass(frozen=True, slots=True)
class StoredTask:
    """A task, and the files that it reads, named relative to the project's folder."""

    task: Task
    reads: tuple[FileInfo, ...]


@dataclass(frozen=True, slots=True)
class TaskStore:
    """A job's part of a store; picklable.

    Attributes:
        folder: The store.
        job: Where results are in it: `scratch/<stage>/<key>/<fingerprint>`.
    """

    folder: RemoteFolder
    job: str

    def offered(self, tasks: Sequence[Task], work: Any, scratch: Path) -> list[StoredTask]:
        """The tasks with what they read, once all of that is in the store.

        Raises:
            ValueError: A file is outside the project's folder, or is not the one that its manifest lists.
        """
        assert hasattr(work, "reads"), f"{type(work).__name__} does not say which files it reads"
        stored = [StoredTask(task, tuple(work.reads(task.value, scratch))) for task in tasks]
        self.offer({info.sha256: info for each in stored for info in each.reads}.values())
        return stored

    def offered_to_all(self, work: Any) -> tuple[FileInfo, ...]:
        """What every task reads, such as weights, once it is in the store; files under absolute paths are left out."""
        infos = tuple(describe(path, Path(), 0) for path in plugin_files([work]) if not path.is_absolute())
        self.offer(infos)
        return infos

    def offer(self, infos: Iterable[FileInfo]) -> None:
        """Put files of the project into the store, those that are not there."""
        in_parallel(self._offer, list(infos), "to the store")

    def _offer(self, info: FileInfo) -> None:
        path = Path(info.name)
        if not _is_inside(path):
            raise ValueError(f"store: {path} is outside the project's folder, where workers do not find it")
        if self.folder.num_bytes(_place(info)) != info.num_bytes:
            self.folder.upload(info.check(Path()), _place(info))

    def fetch(self, info: FileInfo, folder: Path) -> None:
        """Put a file of the store under its name into a folder, unless it is there.

        Raises:
            ValueError: The store does not have it, or has other bytes in its place.
        """
        target = folder / info.name
        if not (target.is_file() and target.stat().st_size == info.num_bytes):
            self.folder.download(_place(info), target, info.sha256)

    def keep(self, name: str, result: Mapping[str, Any], scratch: Path) -> None:
        """Put a task's result into the store, after the files that it names, which lie in the scratch folder."""
        for info in result_files(result):
            self.folder.upload(scratch / info.name, _place(info))
        write_json(result_path(scratch, name), {"result": result, "sha256": digest_json(result)})
        self.folder.upload(result_path(scratch, name), self._result(name))

    def finished(self) -> set[str]:
        """Names of the tasks whose results are in the store."""
        return {name.removeprefix(f"{self.job}/").removesuffix(".json") for name in self.folder.listed(self.job)}

    def bring(self, tasks: Iterable[Task], scratch: Path) -> None:
        """Put results that are in the store, and their files, where a job without a store has them.

        Raises:
            ValueError: One is not as it was written.
        """
        names = [task.name for task in tasks]
        finished = self.finished() if names else set()
        in_parallel(lambda name: self._bring(name, scratch), [name for name in names if name in finished], "results")

    def _bring(self, name: str, scratch: Path) -> None:
        place = self._result(name)
        try:
            values = json.loads(self.folder.read(place))
            result, infos = values["result"], result_files(values["result"])
            is_whole = values["sha256"] == digest_json(result) and all(_is_inside(Path(info.name)) for info in infos)
        except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError):
            is_whole = False
        if not is_whole:
            raise ValueError(f"{self.folder.place(place)} is damaged: remove it, and its task is done again")
        for info in infos:
            self.folder.download(_place(info), scratch / info.name, info.sha256)
        write_json(result_path(scratch, name), result)

    def clear(self) -> None:
        """Remove the results of this instance's jobs."""
        self.folder.remove(self.job.rpartition("/")[0])

    def _result(self, name: str) -> str:
        return f"{self.job}/{name}.json"


class Workplace:
    """A folder that stands for the project's in a worker process, and that ends with it; it becomes the current one.

    The threads of the process share it: a file goes when the last task that reads it is done.
    """

    def __init__(self, store: TaskStore) -> None:
        """Made anew, under the system's folder for temporary files (`TMPDIR`)."""
        self.store = store
        with _locked(machine_folder() / "workplaces.lock", fcntl.LOCK_EX):
            _sweep_workplaces()
            self.home = tempfile.TemporaryDirectory(prefix=WORKPLACE)
            self._sign = (Path(self.home.name) / SIGN).open("w")
            fcntl.flock(self._sign, fcntl.LOCK_EX)  # until this process ends
        self._lock = threading.Lock()
        self._held: Counter[str] = Counter()
        folder = Path(self.home.name)
        (folder / PACE).parent.mkdir(parents=True)
        (folder / PACE).symlink_to(machine_folder() / PACE.name)
        os.chdir(folder)

    def fetch(self, infos: Iterable[FileInfo]) -> None:
        """Fetch files that stay."""
        with self._lock:
            for info in infos:
                self.store.fetch(info, Path())

    @contextmanager
    def holding(self, infos: Sequence[FileInfo]) -> Iterator[None]:
        """Files of the store are here while the block runs."""
        names = {info.name for info in infos}
        with self._lock:
            self._held.update(names)
        try:
            for info in infos:
                self.store.fetch(info, Path())
            yield
        finally:
            with self._lock:
                self._held.subtract(names)
                for name in names:
                    if not self._held[name]:
                        Path(name).unlink(missing_ok=True)


@LoadedOnce
def workplace(store: TaskStore) -> Workplace:
    """The folder of this process for a job."""
    return Workplace(store)


def _sweep_workplaces() -> None:
    """Remove the folders of processes that were killed: nobody holds their sign any more."""
    for sign in Path(tempfile.gettempdir()).glob(f"{WORKPLACE}*/{SIGN}"):
        with suppress(OSError), _locked(sign, fcntl.LOCK_EX | fcntl.LOCK_NB):
            shutil.rmtree(sign.parent, ignore_errors=True)


@contextmanager
def _locked(path: Path, how: int) -> Iterator[None]:
    with path.open("a") as handle:
        fcntl.flock(handle, how)
        yield


def task_store(run: StageRun, scratch: Path) -> TaskStore | None:
    """The store of `params.yaml`; None where workers see the project's folder.

    Raises:
        ValueError: The setting is not a URL.
    """
    url = run.params.get("store") or ""
    if not url:
        return None
    if not isinstance(url, str) or not is_url(url):
        raise ValueError(f"params.yaml: store must be a URL such as s3://bucket/prefix, or empty, got {url!r}")
    return TaskStore(RemoteFolder(url), scratch.relative_to(STATE).as_posix())


def machine_folder() -> Path:
    """A folder that the processes of this machine and user share.

    Raises:
        ValueError: Somebody else has made it.
    """
    folder = Path(tempfile.gettempdir()) / f"vignette-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise ValueError(f"{folder} belongs to another user: set TMPDIR to a folder of your own")
    (folder / PACE.name).mkdir(exist_ok=True)
    return folder


def _is_inside(path: Path) -> bool:
    """Whether a relative path stays in its folder."""
    return not path.is_absolute() and ".." not in path.parts


def _place(info: FileInfo) -> str:
    return f"files/{info.sha256[:2]}/{info.sha256}"
