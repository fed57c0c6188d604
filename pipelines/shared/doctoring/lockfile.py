"""Checks of `dvc.lock` and of the remote: whether they are whole and still speak of what is there."""

import configparser
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from pipelines.shared.doctoring.findings import Finding
from pipelines.shared.doctoring.project import Project
from pipelines.shared.dvc_lock import LOCK

DVC_FOLDER = Path(".dvc")
CONFIG_FILES = ("config", "config.local")


def whole_lock(project: Project) -> Iterator[Finding]:
    """A `dvc.lock` that is missing or was cut off."""
    if not (project.root / LOCK).is_file():
        yield Finding("D41", str(LOCK), "there is none: nothing was run here yet, or it was removed", "vignette repro")
    elif project.locked is None:
        message = "it lacks what DVC requires (a kill can cut it off while DVC writes it), and every dvc command fails"
        yield Finding("D40", str(LOCK), message, "`vignette repro` puts the last whole one in its place")


def stale_lock(project: Project) -> Iterator[Finding]:
    """Dependencies and stages in `dvc.lock` that are no more."""
    locked = project.locked or {}
    gone: dict[str, list[str]] = defaultdict(list)
    for name, stage in locked.items():
        for dep in stage.get("deps", ()) if project.stage(name) else ():
            path = dep["path"]
            if "://" not in path and not (project.root / path).exists() and not project.makers(path):
                gone[path].append(name)
    for path, names in gone.items():
        what = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more stages"
        message = f"{what} was run with {path}, which no longer exists: it counts as changed"
        yield Finding("D42", str(LOCK), message, "run it again: vignette repro")
    others = [name for name in locked if project.stage(name) is None]
    if others and not project.problems:
        message = (
            f"{len(others)} stages are not in dvc.yaml as resolved now, such as {others[0]}: removed, renamed, or of "
        )
        yield Finding("D43", str(LOCK), message + "another scale", "none needed, or remove them from dvc.lock")


def default_remote(project: Project) -> Iterator[Finding]:
    """A default remote that is not defined, or whose folder is missing."""
    config = read_config(project.root)
    name = config.get("core", {}).get("remote")
    if name is None:
        return
    url = config.get(f'remote "{name}"', {}).get("url")
    place = f"{DVC_FOLDER}/config"
    if url is None:
        yield Finding("D49", place, f"core.remote is {name}, which is not defined", f"dvc remote add {name} <url>")
    elif "://" not in url and not (project.root / DVC_FOLDER / url).is_dir():
        message = f"the remote {name} is the folder {url}, which does not exist: dvc push and pull fail"
        yield Finding("D49", place, message, "make the folder, or correct the url")


def read_config(root: Path) -> dict[str, dict[str, str]]:
    """DVC's settings of a project, by section; local ones override. A file that is not in this form counts as empty."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for file in CONFIG_FILES:
        parser = configparser.ConfigParser(interpolation=None, strict=False)
        try:
            parser.read(root / DVC_FOLDER / file)
        except configparser.Error:
            continue
        for section in parser.sections():
            found[section.strip("'")] |= parser[section]
    return found
