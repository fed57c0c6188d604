"""Copies of a project in which a stage is run to look at it, so that the project itself stays as it is.

Large files are hard links, so that a copy takes neither time nor room; smaller ones, code and settings among them, are
copied. The stage's own outputs are left out, as DVC removes them before a run, and so is unfinished work. The commands
run as DVC would run them, with this Python.
"""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pipelines.shared.doctoring.entries import Stage, within
from pipelines.shared.doctoring.imports import PYTHON
from pipelines.shared.doctoring.machine import SCRATCH
from pipelines.shared.doctoring.project import Project
from pipelines.shared.files import clear_folder, link_or_copy

HOME = SCRATCH / "doctor"
LEFT_OUT = frozenset({".git", ".hypothesis", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".vignette", "__pycache__"})
LINKED_BYTES = 1 << 18
SHELL_SIGNS = frozenset(";|&><`$*\n")
WAIT_SEC = 0.1
MAX_SAID = 1500


@contextmanager
def copied(project: Project, stage: Stage, name: str) -> Iterator[Path]:
    """A copy of the project without the stage's outputs, in a folder of its own; both are removed when the block ends.

    Args:
        project: The project.
        stage: The stage that is to be run.
        name: Name of the copy.
    """
    home = project.root / HOME / f"{name}-{os.getpid()}"
    clear_folder(home)
    try:
        _copy(project.root, home / "project", {out.path for out in stage.outs})
        yield home / "project"
    finally:
        shutil.rmtree(home)


def run(
    stage: Stage,
    folder: Path,
    environment: Mapping[str, str],
    *runner: str,
    tick: Callable[[float], None] = time.sleep,
) -> None:
    """Run the commands of a stage in a copy.

    Args:
        stage: The stage.
        folder: The copy.
        environment: Variables beside those of this process.
        *runner: With `python -m <module> ...`, what to put between `-m` and the module.
        tick: Called again and again while it runs, with the seconds that it may take.

    Raises:
        ValueError: A command needs a shell, or fails.
    """
    inherited = {name: value for name, value in os.environ.items() if name != "DVC_ROOT"}
    with (folder.parent / "said").open("w+b") as log:
        for command in stage.commands:
            words = shlex.split(command)
            if SHELL_SIGNS & set(command):
                raise ValueError(
                    f"{stage.name} runs {command!r}, which needs a shell: only plain commands can be looked at"
                )
            if PYTHON.fullmatch(Path(words[0]).name):
                words = [sys.executable, *words[1:]]
                words[2:2] = runner if words[1:2] == ["-m"] else []
            process = subprocess.Popen(
                words,
                cwd=folder / stage.folder,
                env=inherited | dict(environment),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                # not reaped, so that its number and its group are its own until the others of the group are ended
                while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                    tick(WAIT_SEC)
            finally:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            if process.returncode:
                log.seek(max(0, log.tell() - MAX_SAID))
                said = log.read().decode(errors="replace")
                raise ValueError(f"{stage.name} fails in a copy of the project (exit {process.returncode}): {said}")


def _copy(source: Path, target: Path, left_out: set[str]) -> None:
    for here, folders, files in os.walk(source):
        place = Path(here).relative_to(source)
        wanted = [name for name in folders if not _is_left_out(source, (place / name).as_posix(), left_out)]
        links = [name for name in wanted if Path(here, name).is_symlink()]
        folders[:] = [name for name in wanted if name not in links]
        (target / place).mkdir(exist_ok=True)
        for name in [*links, *files]:
            path = Path(here, name)
            if any(within((place / name).as_posix(), out) for out in left_out):
                continue
            if path.is_symlink():
                (target / place / name).symlink_to(path.resolve())
            elif path.is_file() and path.stat().st_size >= LINKED_BYTES:
                link_or_copy(path, target / place / name)
            elif path.is_file():
                shutil.copy2(path, target / place / name)


def _is_left_out(source: Path, folder: str, left_out: set[str]) -> bool:
    """Whether a folder is not copied: tools' own, virtual environments, DVC's cache, and the stage's outputs."""
    return (
        Path(folder).name in LEFT_OUT
        or folder in {".dvc/cache", ".dvc/tmp"}
        or (source / folder / "pyvenv.cfg").is_file()
        or any(within(folder, out) for out in left_out)
    )
