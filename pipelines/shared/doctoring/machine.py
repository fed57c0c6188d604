"""Checks of the machine: room on the disk, what killed runs left, and what changes bytes behind one's back."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from pipelines.shared.doctoring.findings import Finding
from pipelines.shared.doctoring.lockfile import DVC_FOLDER, read_config
from pipelines.shared.doctoring.project import Project
from pipelines.shared.stage import STATE

GIB = 1 << 30
BUSY = DVC_FOLDER / "tmp" / "rwlock"
SCRATCH = STATE / "scratch"
OF_DVC = b"dvc git-hook"
PRE_COMMIT = Path(".pre-commit-config.yaml")
FIXERS = ("end-of-file-fixer", "trailing-whitespace", "mixed-line-ending", "pretty-format-json", "prettier")


def room(project: Project) -> Iterator[Finding]:
    """A disk with less room than a run that changes everything may need."""
    cache = project.root / DVC_FOLDER / read_config(project.root).get("cache", {}).get("dir", "cache")
    free, held = shutil.disk_usage(project.root).free, folder_bytes(cache)
    if free < max(GIB, held):
        yield Finding(
            "D60",
            str(project.root),
            f"{free / GIB:.1f} GiB are free and DVC's cache holds {held / GIB:.1f} GiB: a run in which everything "
            "changes needs as much again",
            "dvc gc --workspace, or more room",
        )


def busy_files(project: Project) -> Iterator[Finding]:
    """DVC's list of files in use: damaged, or with processes that are no more."""
    path = project.root / BUSY
    if not path.is_file():
        return
    try:
        busy = json.loads(path.read_bytes())
        infos = [*busy.get("write", {}).values(), *(info for infos in busy.get("read", {}).values() for info in infos)]
        dead = sorted({info["pid"] for info in infos if not is_alive(info["pid"])})
    except (ValueError, AttributeError, KeyError, TypeError):
        message = "it is not the JSON that DVC writes, as after a kill: every dvc repro fails on it"
        yield Finding("D61", str(BUSY), message, f"rm {BUSY}, once no dvc process runs")
        return
    if dead:
        message = (
            f"it names the dead processes {', '.join(map(str, dead))}; a number given anew would block their files"
        )
        yield Finding("D62", str(BUSY), message, f"none needed, or rm {BUSY}, once no dvc process runs")


def leftovers(project: Project) -> Iterator[Finding]:
    """Unfinished work of runs that were killed or are still running."""
    folders = [path for path in (project.root / SCRATCH).glob("*/*") if path.is_dir()]
    if folders:
        sizes = {path: folder_bytes(path) for path in folders}
        largest = max(folders, key=lambda path: (sizes[path], path))
        yield Finding(
            "D63",
            str(SCRATCH),
            f"{len(folders)} instances left {sum(sizes.values()) / GIB:.2f} GiB, the most "
            f"{largest.relative_to(project.root)}; the same run takes it up, one of other settings never does",
            f"none needed, or rm -r {SCRATCH}, once nothing runs",
        )


def line_ends(project: Project) -> Iterator[Finding]:
    """Git's conversion of line ends by git on checkout."""
    if (project.git("config", "--get", "core.autocrlf") or "").strip().lower() == "true":
        message = "core.autocrlf is true: a checkout has other bytes than the commit, so every digest of code differs"
        yield Finding("D64", "git config", message, "git config core.autocrlf false, then check out again")


def hooks(project: Project) -> Iterator[Finding]:
    """Git hooks of other programs than DVC, and formatters in pre-commit."""
    listed = project.git("rev-parse", "--git-path", "hooks")
    folder = project.root / listed.strip() if listed else None
    files = [path for path in sorted(folder.glob("*")) if path.suffix != ".sample"] if folder else []
    other = [path.name for path in files if os.access(path, os.X_OK) and OF_DVC not in path.read_bytes()]
    if other:
        message = f"{', '.join(other)} may change files between a run and its commit, so that digests no longer fit"
        yield Finding("D65", "git hooks", message, "let hooks check, and leave outputs, dvc.lock and scores alone")
    config = project.root / PRE_COMMIT
    named = [name for name in FIXERS if config.is_file() and name in config.read_text()]
    if named:
        message = f"{', '.join(named)} rewrites files at a commit, those that stages wrote among them"
        yield Finding("D65", str(PRE_COMMIT), message, "exclude outputs, dvc.lock and scores")


def folder_bytes(folder: Path) -> int:
    """Size of all files under a folder; 0 if there is none."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def is_alive(pid: int) -> bool:
    """Whether a process has this number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
