"""A DVC project as the checks see it: `dvc.yaml` as written and as DVC resolves it, `dvc.lock`, and what git holds.

Templates are resolved by DVC's own `DataResolver`, without opening a DVC repository, which takes 2 s for 35 stages in
place of 0.3 s. Only the `dvc.yaml` of the project's root is looked at.
"""

import os
import subprocess
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from pipelines.shared.doctoring.entries import DVC_FILE, Stage, at, overlap, read_stage
from pipelines.shared.doctoring.findings import Finding
from pipelines.shared.dvc_lock import LOCK, locked_stages
from pipelines.shared.params import PARAMS_FILE, load_params


class Project:
    """A project's root folder, read as far as a check asks."""

    def __init__(self, root: Path) -> None:
        """Nothing is read yet.

        Raises:
            ValueError: There is no `dvc.yaml`.
        """
        self.root = root.resolve()
        if not (self.root / DVC_FILE).is_file():
            raise ValueError(f"{DVC_FILE} is missing: run this in the project's folder")

    @cached_property
    def written(self) -> CommentedMap:
        """`dvc.yaml` with the lines of its parts; empty if it cannot be read (`problems` says why)."""
        return self._read[0]

    @cached_property
    def templates(self) -> list[Stage]:
        """The stages as written."""
        return [
            read_stage(name, _template(body), self._lines[name], _template(body))
            for name, body in (self.written.get("stages") or {}).items()
            if isinstance(body, Mapping) and "cmd" in _template(body)
        ]

    @cached_property
    def stages(self) -> list[Stage]:
        """All instances of all stages, as DVC resolves them; those that do not resolve are in `problems`."""
        return self._resolved[0]

    @cached_property
    def problems(self) -> list[Finding]:
        """What could not be read or resolved."""
        return [*self._read[1], *self._resolved[1], *self._params[1]]

    @property
    def params(self) -> Mapping[str, Any]:
        """All of `params.yaml`; empty if there is none, or it cannot be read (`problems` says why)."""
        return self._params[0]

    @cached_property
    def locked(self) -> Mapping[str, Mapping[str, Any]] | None:
        """The stages of `dvc.lock`; none if it does not exist, None if it is not whole."""
        lock = self.root / LOCK
        return locked_stages(lock.read_bytes()) if lock.is_file() else {}

    def stage(self, name: str) -> Stage | None:
        """The instance of this name."""
        return next((stage for stage in self.stages if stage.name == name), None)

    def makers(self, path: str) -> list[Stage]:
        """The stages that make a path, something in it, or a folder above it."""
        return [stage for stage in self.stages if any(overlap(path, out.path) for out in stage.outs)]

    def git(self, *words: str, given: str | None = None) -> str | None:
        """What git prints; None if it fails, as outside a repository."""
        try:
            done = subprocess.run(
                ["git", *words], cwd=self.root, input=given, capture_output=True, text=True, check=False
            )
        except FileNotFoundError:
            return None
        return done.stdout if done.returncode == 0 else None

    @cached_property
    def tracked(self) -> frozenset[str] | None:
        """Files in git's index; None outside a repository."""
        listed = self.git("ls-files", "-z", ".")
        return None if listed is None else frozenset(filter(None, listed.split("\0")))

    @cached_property
    def _lines(self) -> dict[str, int]:
        stages = self.written.get("stages") or CommentedMap()
        return {name: stages.lc.key(name)[0] + 1 for name in stages}

    @cached_property
    def _read(self) -> tuple[CommentedMap, list[Finding]]:
        remedy = "write it as `dvc stage list` reads it"
        try:
            values = YAML().load((self.root / DVC_FILE).read_text(encoding="utf-8"))
        except (YAMLError, UnicodeDecodeError) as error:
            mark = error.problem_mark if isinstance(error, MarkedYAMLError) else None
            where = at(mark.line + 1) if mark else DVC_FILE
            return CommentedMap(), [Finding("D01", where, f"not YAML: {_one_line(error)}", remedy)]
        if not isinstance(values, CommentedMap) or not isinstance(values.get("stages") or {}, Mapping):
            return CommentedMap(), [Finding("D01", DVC_FILE, "it has no mapping of stages", remedy)]
        return values, []

    @cached_property
    def _resolved(self) -> tuple[list[Stage], list[Finding]]:
        from dvc.exceptions import DvcException
        from dvc.fs import LocalFileSystem
        from dvc.parsing import DataResolver, EntryDefinition

        remedy = f"mend the template, or the setting that it names in {PARAMS_FILE}"
        if self._params[1]:
            return [], []  # DVC's resolver would hang, recurse or break off where our reader refuses
        try:
            # of a repository the resolver uses these two alone
            repository = SimpleNamespace(fs=LocalFileSystem(), config={})
            resolver = DataResolver(repository, str(self.root), self.written)  # type: ignore[arg-type]
        except DvcException as error:
            return [], [Finding("D01", DVC_FILE, _one_line(error), remedy)]
        stages, problems = [], []
        for name, definition in resolver.definitions.items():
            body = _template(self.written["stages"][name])
            try:
                for instance in [name] if isinstance(definition, EntryDefinition) else definition.get_generated_names():
                    values = resolver.resolve_one(instance)[instance]
                    used = {
                        self._from_root(file): tuple(keys) for file, keys in resolver.tracked_vars[instance].items()
                    }
                    stages.append(read_stage(instance, values, self._lines[name], body, used))
            except (DvcException, KeyError, TypeError, AttributeError) as error:
                problems.append(Finding("D01", at(self._lines[name]), f"stage {name}: {_one_line(error)}", remedy))
        return stages, problems

    @cached_property
    def _params(self) -> tuple[Mapping[str, Any], list[Finding]]:
        path = self.root / PARAMS_FILE
        if not path.exists():
            return {}, []
        try:
            return load_params(path), []
        except ValueError as error:
            message = _one_line(error).replace(str(path), str(PARAMS_FILE))
            return {}, [Finding("D01", str(PARAMS_FILE), message, "mend it; DVC and every stage read it")]

    def _from_root(self, path: str) -> str:
        return os.path.relpath(Path(path).absolute(), self.root)


def _template(body: Mapping[str, Any]) -> Mapping[str, Any]:
    return body["do"] if isinstance(body.get("do"), Mapping) else body


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")
