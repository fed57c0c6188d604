"""`dvc.lock` compared with what it speaks of; it has no digest of its own.

An entry holds if the last commit has it too, if another stage says the same, or if it is what is there now: the files
and folders, `dvc.yaml`, `params.yaml`, `sources.lock`. An entry that nothing bears out is damaged, or its stage is out
of date: `dvc status` tells which. Its form is DVC's own, to the byte. Entries that were cut off are those that the last
commit had, or whose outputs DVC's cache has.
"""

import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pipelines.shared.doctoring.entries import DVC_FILE, Stage
from pipelines.shared.doctoring.project import Project
from pipelines.shared.documents import parse_yaml, read_json
from pipelines.shared.dvc_files import Digests, Listed, as_entry, as_listed, cache_path, is_md5, yaml_text
from pipelines.shared.dvc_lock import LOCK
from pipelines.shared.files import canonical_json
from pipelines.shared.keys import check_values
from pipelines.shared.params import PARAMS_FILE

SCHEMA = "2.0"
MAX_CHARACTERS = 64 << 20
PARTS = {"cmd", "deps", "params", "outs"}
FILE_PARTS = {"path", "hash", "md5", "size", "nfiles", "isexec"}
OUT_OF_DATE = "the stage is out of date (`vignette repro`), or the lock is damaged (`git diff dvc.lock`)"


@dataclass(slots=True)
class Lock:
    """A `dvc.lock` as far as it can be read.

    Attributes:
        stages: Its stages by name.
        problems: What is wrong with it as a file.
    """

    stages: dict[str, dict[str, Any]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def committed(path: Path) -> bytes | None:
    """A file as the last commit has it; None if it does not, or outside a git repository."""
    try:
        words = ["git", "show", f"HEAD:./{path.as_posix()}"]
        done = subprocess.run(words, capture_output=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout if done.returncode == 0 else None


def read_lock(content: bytes) -> Lock:
    """The stages of a `dvc.lock` that are of DVC's form, and a line on everything that is not."""
    try:
        values = parse_yaml(content.decode(), str(LOCK), MAX_CHARACTERS)
        check_values(values, str(LOCK))
    except UnicodeDecodeError as error:
        return Lock(problems=[f"{LOCK} is not UTF-8: {error}"])
    except ValueError as error:
        return Lock(problems=[str(error)])
    if not isinstance(values, dict) or values.get("schema") != SCHEMA or not isinstance(values.get("stages"), dict):
        return Lock(problems=[f"{LOCK} is not a lock: it needs schema {SCHEMA!r} and a mapping of stages"])
    lock = Lock()
    if extra := sorted(str(name) for name in values if name not in ("schema", "stages", "datasets")):
        lock.problems.append(f"{LOCK}: {extra[0]!r} is not a part of a lock")
    if line := _first_other_line(content, values):
        lock.problems.append(f"{LOCK}:{line} is not written as DVC writes it")
    for name, stage in values["stages"].items():
        wrong = list(_wrong_form(stage))
        lock.problems += [f"{LOCK}: {name}: {each}" for each in wrong]
        if not wrong:
            lock.stages[str(name)] = stage
    return lock


def _first_other_line(content: bytes, values: Any) -> int:
    """The first line, from 1, that differs from how DVC writes these values; 0 if none does."""
    ours, theirs = content.decode().split("\n"), yaml_text(values).split("\n")
    if ours == theirs:
        return 0
    pairs = zip(ours, theirs, strict=False)
    return next((number for number, (one, other) in enumerate(pairs, 1) if one != other), min(len(ours), len(theirs)))


def _wrong_form(stage: Any) -> Iterator[str]:
    """What DVC would refuse in a stage, or not know."""
    if not isinstance(stage, dict) or not isinstance(stage.get("cmd"), str):
        yield "it has no cmd"
        return
    yield from (f"{name!r} is not a part of a stage" for name in sorted(map(str, stage)) if name not in PARTS)
    for part in ("deps", "outs"):
        entries = stage.get(part, [])
        if not isinstance(entries, list):
            yield f"{part} is not a list"
            continue
        for entry in entries:
            if not isinstance(entry, dict) or not isinstance(entry.get("path"), str):
                yield f"an entry of {part} has no path"
            elif entry.get("hash") != "md5" or not is_md5(entry.get("md5")):
                yield f"{part}: {entry['path']} has no md5"
            elif extra := sorted(map(str, entry.keys() - FILE_PARTS)):
                yield f"{part}: {entry['path']}: {extra[0]!r} is not a part of an entry"
            elif not all(isinstance(entry.get(name, 0), int) for name in ("size", "nfiles")):
                yield f"{part}: the size of {entry['path']} is not a number"
    params = stage.get("params", {})
    if not isinstance(params, dict) or not all(isinstance(values, dict) for values in params.values()):
        yield "params is not a mapping of files"


@dataclass(kw_only=True)
class LockChecker:
    """Compares the stages of a lock with what they were made from.

    Attributes:
        lock: The lock.
        before: The lock of the last commit.
        params: All of `params.yaml`.
        found: Digests of files by path.
    """

    lock: Lock
    before: Lock
    params: Mapping[str, Any]
    found: Mapping[Path, Digests]

    def problems(self) -> Iterator[str]:
        """Everything that nothing bears out, a line each."""
        for name, stage in self.lock.stages.items():
            if self.before.stages.get(name) != stage:
                for problem in (*self._made_otherwise(name, stage), *self._made_from_others(name, stage)):
                    yield f"{LOCK}: {name}: {problem}: {OUT_OF_DATE}"
        for name in self.before.stages:
            if name not in self.lock.stages and (not self.expected or name in self.expected):
                yield f"{LOCK}: {name} is gone, the last commit has it"
        for name, expected in self.expected.items():
            for out in expected.outs:
                if name not in self.lock.stages and name not in self.before.stages and self._is_cached(out.path):
                    yield f"{LOCK}: {name} is gone, DVC's cache has its {out.path}"

    @cached_property
    def expected(self) -> dict[str, Stage]:
        """The stages of `dvc.yaml` as DVC resolves them; none if there is no such file."""
        return {stage.name: stage for stage in Project(Path()).stages} if Path(DVC_FILE).is_file() else {}

    @cached_property
    def _agreed(self) -> dict[tuple[str, str], int]:
        """How many stages of the lock, and of the last commit's twice, have an entry of a dependency."""
        counts: dict[tuple[str, str], int] = {}
        for lock, weight in ((self.lock, 1), (self.before, 2)):
            for stage in lock.stages.values():
                for entry in stage.get("deps", []):
                    key = entry["path"], canonical_json(entry)
                    counts[key] = counts.get(key, 0) + weight
        return counts

    @cached_property
    def _now(self) -> dict[str, Listed]:
        return {}

    def _made_otherwise(self, name: str, stage: Mapping[str, Any]) -> Iterator[str]:
        """Where a stage differs from `dvc.yaml` and from the settings."""
        if not self.expected:
            return
        expected = self.expected.get(name)
        if expected is None:
            yield from self._orphan(name, stage)
            return
        if [line.strip() for line in stage["cmd"].splitlines()] != list(expected.commands):
            yield f"cmd is not that of {DVC_FILE}"
        for part, paths in (("deps", {path for path, _ in expected.deps}), ("outs", {o.path for o in expected.outs})):
            if others := sorted(paths ^ {entry["path"] for entry in stage.get(part, [])}):
                yield f"{others[0]} stands in {part} here or in {DVC_FILE}, not in both"
        for file, values in stage.get("params", {}).items():
            now = self._settings(file)
            for key, value in values.items():
                if now is not None and not _equal(value, _at(now, key)):
                    yield f"{key} is not what {file} says"
        if others := sorted(_tracked(expected.params) ^ _tracked(stage.get("params", {}))):
            yield f"{others[0][1] or others[0][0]} is tracked here or in {DVC_FILE}, not in both"

    def _orphan(self, name: str, stage: Mapping[str, Any]) -> Iterator[str]:
        """A stage of an instance that was taken out of `params.yaml` must at least speak of that instance."""
        group, _, key = name.partition("@")
        texts = stage["cmd"].split(), *(Path(out["path"]).with_suffix("").parts for out in stage.get("outs", []))
        if group not in {each.group for each in self.expected.values()} or not all(key in text for text in texts):
            yield f"{DVC_FILE} has no such stage"

    def _made_from_others(self, name: str, stage: Mapping[str, Any]) -> Iterator[str]:
        """Dependencies that are others now, and that no other stage knows."""
        for entry in stage.get("deps", []):
            path = Path(entry["path"])
            if self._agreed[entry["path"], canonical_json(entry)] < 2 and not self._is_now(path, entry):
                yield f"{path} is {'another now' if path.exists() else 'not there'}"

    def _is_now(self, path: Path, entry: Mapping[str, Any]) -> bool:
        if not path.exists():
            return False
        now = self._now.setdefault(str(path), as_listed(path, self.found))
        return now == as_entry(entry)

    def _is_cached(self, path: str) -> bool:
        return Path(path).exists() and cache_path(as_listed(Path(path), self.found).md5).is_file()

    def _settings(self, file: str) -> Any:
        """A file of settings; None for one that is not read here."""
        if file == str(PARAMS_FILE):
            return self.params
        try:
            return read_json(Path(file))
        except ValueError:
            return None


def _tracked(params: Mapping[str, Any]) -> set[tuple[str, str]]:
    return {(file, key) for file, keys in params.items() for key in keys or ("",)}


def _at(values: Any, key: str) -> Any:
    """A value by its name with full stops."""
    for name in [key] if isinstance(values, Mapping) and key in values else key.split("."):
        values = values.get(name) if isinstance(values, Mapping) else None
    return values


def _equal(one: Any, other: Any) -> bool:
    """Whether two values are written alike; `1` and `1.0` are not."""
    return canonical_json(one) == canonical_json(other)
