"""Entries of `dvc.yaml`: a stage as written or as resolved, its outputs, and how paths lie to each other."""

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml.comments import CommentedSeq

from pipelines.shared.params import PARAMS_FILE

DVC_FILE = "dvc.yaml"
OUTPUT_KINDS = ("outs", "metrics", "plots")


@dataclass(frozen=True, kw_only=True, slots=True)
class Output:
    """An output of a stage.

    Attributes:
        path: Its path from the project's root.
        kind: `outs`, `metrics` or `plots`.
        cached: Whether DVC keeps it in its cache.
        persist: Whether DVC leaves it in place before a run.
        line: Its line in `dvc.yaml`.
    """

    path: str
    kind: str
    cached: bool
    persist: bool
    line: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """A stage as written, with its `${...}`, or an instance of it as resolved.

    Attributes:
        name: `train`, or `train@clip` for an instance.
        line: Its line in `dvc.yaml`.
        commands: What is run, in order.
        folder: Where it is run, from the project's root.
        deps: Paths from the project's root, each with its line.
        outs: Its outputs.
        params: Tracked settings by file; none stands for the whole file.
        always_changed: Whether DVC runs it every time.
        tracked: Settings that its template used, by file.
    """

    name: str
    line: int
    commands: tuple[str, ...]
    folder: str = ""
    deps: tuple[tuple[str, int], ...] = ()
    outs: tuple[Output, ...] = ()
    params: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    always_changed: bool = False
    tracked: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def group(self) -> str:
        """Name of the stage without its instance."""
        return self.name.partition("@")[0]

    @property
    def place(self) -> str:
        """Where it stands."""
        return at(self.line)

    def declares(self, path: str) -> bool:
        """Whether a dependency is this path or a folder above it."""
        return any(within(path, dep) for dep, _ in self.deps)


def read_stage(
    name: str,
    body: Mapping[str, Any],
    line: int,
    written: Mapping[str, Any],
    tracked: Mapping[str, tuple[str, ...]] | None = None,
) -> Stage:
    """A stage from its entry.

    Args:
        name: Its name.
        body: Its entry, as written or resolved.
        line: Its line in `dvc.yaml`.
        written: Its entry as written, for the lines of its parts.
        tracked: Settings that the template used, by file.
    """
    folder = str(body.get("wdir") or "")
    commands = [body["cmd"]] if isinstance(body["cmd"], str) else body["cmd"]
    return Stage(
        name=name,
        line=line,
        commands=tuple(str(command).strip() for command in commands),
        folder=folder,
        deps=tuple(
            (_joined(folder, str(dep)), _item_line(written.get("deps"), index, line))
            for index, dep in enumerate(body.get("deps") or ())
        ),
        outs=tuple(
            output
            for kind in OUTPUT_KINDS
            for index, entry in enumerate(body.get(kind) or ())
            for output in _outputs(entry, kind, folder, _item_line(written.get(kind), index, line))
        ),
        params=_params(body.get("params") or (), folder),
        always_changed=bool(body.get("always_changed")),
        tracked=tracked or {},
    )


def at(line: int) -> str:
    """A place in `dvc.yaml`."""
    return f"{DVC_FILE}:{line}"


def within(path: str, folder: str) -> bool:
    """Whether a path is another one or lies in it."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def overlap(first: str, second: str) -> bool:
    """Whether one path is the other or lies in it."""
    return within(first, second) or within(second, first)


def _outputs(entry: Any, kind: str, folder: str, line: int) -> Iterator[Output]:
    for path, flags in entry.items() if isinstance(entry, Mapping) else [(entry, {})]:
        flags = flags if isinstance(flags, Mapping) else {}
        yield Output(
            path=_joined(folder, str(path)),
            kind=kind,
            cached=bool(flags.get("cache", True)),
            persist=bool(flags.get("persist", False)),
            line=line,
        )


def _params(entries: Sequence[Any], folder: str) -> dict[str, tuple[str, ...]]:
    """Tracked settings by file: a plain name is one of `params.yaml`, a mapping names its file."""
    found: dict[str, tuple[str, ...]] = {}
    for entry in entries:
        files = entry if isinstance(entry, Mapping) else {str(PARAMS_FILE): [entry]}
        for file, keys in files.items():
            path = _joined(folder, str(file))
            found[path] = (*found.get(path, ()), *map(str, keys or ()))
    return found


def _item_line(items: Any, index: int, otherwise: int) -> int:
    return items.lc.item(index)[0] + 1 if isinstance(items, CommentedSeq) and index < len(items) else otherwise


def _joined(folder: str, path: str) -> str:
    return path if "://" in path else posixpath.normpath(posixpath.join(folder, path))
