"""Builds to compare: what `dvc.lock` and the scores say of one, in the working tree or at a revision of git.

Of a revision only files that git has are read: `dvc.lock` with the digests of all outputs and of what they were made
from, `dvc.yaml` and `params.yaml` for the instances that it names, the scores, and the records, which say what machine
the scores were made on. Instances of an earlier scale that DVC left in the lock are no part of a build.
"""

import json
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.shared.documents import parse_json, parse_yaml
from pipelines.shared.dvc_lock import LOCK, locked_stages
from pipelines.shared.params import PARAMS_FILE
from pipelines.shared.recording import RECORDS, parse_records
from pipelines.shared.stage import SCORES

DVC_YAML = Path("dvc.yaml")
Read = Callable[[Path], bytes | None]


class NothingPublishedError(ValueError):
    """Git has no build to compare with."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Build:
    """One build.

    Attributes:
        stages: Entries of `dvc.lock` by name.
        missing: Stages of these whose outputs are not all there, or not as the lock says; none at a revision.
        scores: Documents of `scores/<key>.json` by the name of the stage that made them.
        machines: Facts of the machines on which these scores were recorded, each once; none where nothing says so.
        revision: The commit that last changed lock or scores; empty for the working tree.
        day: Its day, `YYYY-MM-DD`; empty for the working tree.
        names: Whether `dvc.yaml` and `params.yaml` name a stage, built or not.
    """

    stages: Mapping[str, Mapping[str, Any]]
    scores: Mapping[str, Mapping[str, Any]]
    missing: frozenset[str] = frozenset()
    machines: tuple[Mapping[str, Any], ...] = field(default=())
    revision: str = ""
    day: str = ""
    names: Callable[[str], bool] = lambda _name: True


def published_build(revision: str) -> Build:
    """The build that is committed at a revision.

    Raises:
        NothingPublishedError: There is no such revision, or no `dvc.lock` in it.
        ValueError: The lock, a score or the records of it cannot be read.
    """
    commit = (_git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}") or b"").decode()
    commit = commit.strip()
    if not commit:
        raise NothingPublishedError(f"{revision!r} is not a revision of this git repository")

    def read(path: Path) -> bytes | None:
        return _git("show", f"{commit}:./{path.as_posix()}")

    content = read(LOCK)
    if content is None:
        raise NothingPublishedError(f"nothing is published at {revision}: it has no {LOCK}")
    names = named(read)
    stages = read_stages(content, names, f"{LOCK} at {revision}")
    scores = read_scores(stages, read)
    told = _git("log", "-1", "--format=%H %cs", commit, "--", LOCK.as_posix(), SCORES.as_posix())
    last, _, day = (told or b"").decode().strip().partition(" ")
    return Build(
        stages=stages, scores=scores, machines=machines(scores, read), revision=last or commit, day=day, names=names
    )


def present_build() -> Build:
    """The build in the working tree.

    Raises:
        ValueError: Its `dvc.lock` cannot be read.
    """

    def read(path: Path) -> bytes | None:
        return path.read_bytes() if path.is_file() else None

    content, names = read(LOCK), named(read)
    stages = read_stages(content, names, str(LOCK)) if content is not None else {}
    missing = {name for name, stage in stages.items() if not all(Path(path).exists() for path in outputs(stage))}
    scores = read_scores({name: stage for name, stage in stages.items() if name not in missing}, read)
    return Build(stages=stages, scores=scores, missing=frozenset(missing), names=names)


def read_stages(content: bytes, names: Callable[[str], bool], where: str) -> dict[str, Mapping[str, Any]]:
    """The stages of a lock that are named.

    Raises:
        ValueError: The lock cannot be read.
    """
    stages = locked_stages(content)
    if stages is None:
        raise ValueError(f"{where} is not whole: `vignette repro` puts one right that a kill cut off")
    return {name: stage for name, stage in stages.items() if names(name)}


def named(read: Read) -> Callable[[str], bool]:
    """Whether `dvc.yaml` has a stage, and `params.yaml` its instance where a section lists them.

    Raises:
        ValueError: One of the two cannot be read.
    """
    written = _yaml(read(DVC_YAML), DVC_YAML).get("stages") or {}
    params = _yaml(read(PARAMS_FILE), PARAMS_FILE)

    def is_named(name: str) -> bool:
        group, _, key = name.partition("@")
        each = (written.get(group) or {}).get("foreach")
        if not isinstance(each, str):
            return group in written
        return key in (params.get(each.strip().removeprefix("${").removesuffix("}")) or {})

    return is_named


def read_scores(stages: Mapping[str, Mapping[str, Any]], read: Read) -> dict[str, dict[str, Any]]:
    """Score documents by stage, of the stages that make one.

    Raises:
        ValueError: A file is not JSON.
    """
    documents = {}
    for name, stage in stages.items():
        for path in map(Path, outputs(stage)):
            content = read(path) if path.parent == SCORES else None
            if content is not None:
                documents[name] = parse_json(content, str(path))
    return documents


def machines(scores: Mapping[str, Mapping[str, Any]], read: Read) -> tuple[Mapping[str, Any], ...]:
    """Facts of the machines on which documents were recorded; each once."""
    path = SCORES / RECORDS
    records = parse_records(read(path) or b"", path)
    known = {_text(record["document"]): record.get("machine") for record in records}
    found = {_text(facts): facts for each in scores.values() if (facts := known.get(_text(each)))}
    return tuple(found.values())


def outputs(stage: Mapping[str, Any]) -> dict[str, str]:
    """md5 of a locked stage's outputs by path."""
    return {out["path"]: out["md5"] for out in stage.get("outs", ())}


def _yaml(content: bytes | None, path: Path) -> Mapping[str, Any]:
    try:
        values = parse_yaml((content or b"").decode(), str(path)) or {}
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8: {error}") from error
    if not isinstance(values, Mapping):
        raise ValueError(f"{path} must be a mapping, got {type(values).__name__}")
    return values


def _git(*words: str) -> bytes | None:
    """What git prints; None if it fails, or is not there."""
    try:
        done = subprocess.run(["git", *words], capture_output=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout if done.returncode == 0 else None


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
