"""`dvc` and `git` as programs: found, run, and heard."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path


def find_dvc() -> str:
    """The `dvc` beside this interpreter, which is also put first on PATH for the stages' `python3`.

    Raises:
        ValueError: There is none.
    """
    beside = str(Path(sys.executable).parent)
    path = os.environ.get("PATH", "")
    if path.split(os.pathsep)[0] != beside:
        os.environ["PATH"] = os.pathsep.join([beside, path])
    dvc = shutil.which("dvc")
    if dvc is None:
        raise ValueError("dvc is missing: make setup installs it")
    return dvc


def said(*words: str) -> str:
    """What a program writes to its standard output; its standard error is passed on.

    Raises:
        ValueError: It failed; it has said why.
    """
    done = subprocess.run(words, stdout=subprocess.PIPE, check=False, text=True)
    if done.returncode:
        raise ValueError(f"{Path(words[0]).name} {' '.join(words[1:])} failed (see above)")
    return done.stdout


def require_git() -> None:
    """Check that commits and tags can be made here.

    Raises:
        ValueError: This is no git repository, or git does not know whose commits they are.
    """
    if shutil.which("git") is None:
        raise ValueError("git is missing: champions are commits and tags")
    inside = subprocess.run(["git", "rev-parse", "--show-prefix"], capture_output=True, text=True, check=False)
    if inside.returncode:
        raise ValueError("this is no git repository, and champions are commits and tags: `git init` makes one")
    if inside.stdout.strip():
        raise ValueError(f"this is {inside.stdout.strip()} of a git repository: run it in the repository's own folder")
    for name, variable in (("user.name", "GIT_COMMITTER_NAME"), ("user.email", "GIT_COMMITTER_EMAIL")):
        known = subprocess.run(["git", "config", name], capture_output=True, check=False).returncode == 0
        if not known and not os.environ.get(variable):
            raise ValueError(f"git's {name} is not set, and a commit needs it: git config {name} ...")


def require_nothing_staged(but: Iterable[str]) -> None:
    """Check that a commit of these paths would not be mixed up with other work.

    Raises:
        ValueError: Something else is staged.
    """
    ours = tuple(but)
    staged = said("git", "diff", "--cached", "--name-only", "-z").split("\0")
    others = [name for name in staged if name and not any(name == own or name.startswith(f"{own}/") for own in ours)]
    if others:
        raise ValueError(f"other changes are staged ({', '.join(others[:3])}): commit or unstage them first")


def commit(paths: Iterable[str], message: str) -> bool:
    """Commit what has changed under these paths, and nothing else.

    Returns:
        Whether anything had.
    """
    there = [path for path in paths if Path(path).exists() or said("git", "ls-files", "--", path)]
    said("git", "add", "--all", "--", *there)
    if not said("git", "diff", "--cached", "--name-only", "--", *there):
        return False
    said("git", "commit", "--quiet", "--message", message, "--", *there)
    return True
