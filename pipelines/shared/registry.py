"""The registry of champions: annotated git tags as GTO writes them, no server.

`<gate>@v0.1.0` registers a version on the commit that has its `champions/<gate>.dvc`; `<gate>#champion#3` is the third
time that a version was put in use, on the commit of that version. Messages name the digests of the weights and of the
`gate.json` that decided, a line each. Tags are read in the order of their numbers, because a tag's time has whole
seconds only; what was taken back by hand (`gto deregister`, `gto unassign`) is not looked at.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.shared.programs import said

STAGE = "champion"
FIRST_VERSION = "v0.1.0"
FORMAT = "%(refname:lstrip=2)%00%(*objectname)%00%(contents)%01"


@dataclass(frozen=True, kw_only=True, slots=True)
class Version:
    """A registered version.

    Attributes:
        name: Such as `v0.1.0`.
        commit: That has its `champions/<gate>.dvc`.
        facts: What its tag's message names, such as `model_sha256`.
    """

    name: str
    commit: str
    facts: Mapping[str, str]


def versions(gate: str) -> dict[str, Version]:
    """All registered versions of a gate, the oldest first."""
    pattern = re.compile(rf"{re.escape(gate)}@(?P<name>v\d+\.\d+\.\d+)")
    found = [
        Version(name=match["name"], commit=commit, facts=_facts(message))
        for tag, commit, message in _tags(f"{gate}@*")
        if (match := pattern.fullmatch(tag))
    ]
    return {version.name: version for version in sorted(found, key=lambda version: _numbers(version.name))}


def assigned(gate: str, known: Mapping[str, Version]) -> list[str]:
    """Names of the versions that were in use, one after another; the last one is."""
    pattern = re.compile(rf"{re.escape(gate)}#{STAGE}#(?P<number>\d+)")
    names = {version.commit: version.name for version in known.values()}
    found = [
        (int(match["number"]), names[commit])
        for tag, commit, _ in _tags(f"{gate}#{STAGE}#*")
        if (match := pattern.fullmatch(tag)) and commit in names
    ]
    return [name for _, name in sorted(found)]


def next_version(known: Iterable[str], *, new_test_set: bool) -> str:
    """The version after all that are known: another minor number where the test set is another one, else a patch."""
    if not (numbers := sorted(map(_numbers, known))):
        return FIRST_VERSION
    major, minor, patch = numbers[-1]
    return f"v{major}.{minor + 1}.0" if new_test_set else f"v{major}.{minor}.{patch + 1}"


def before(history: list[str]) -> str | None:
    """The version that was in use before the present one first was; None if there is none."""
    first = history.index(history[-1]) if history else 0
    return history[first - 1] if first else None


def register(gate: str, version: str, commit: str, facts: Mapping[str, Any]) -> str:
    """Register a version; the name of the tag."""
    from gto import api

    _by_gto(api.register, gate, ref=commit, version=version, message=_message(gate, version, facts))
    return f"{gate}@{version}"


def assign(gate: str, version: str, facts: Mapping[str, Any]) -> str:
    """Put a version in use, also one that was before; the name of the tag."""
    from gto import api

    # `force`: GTO counts a version as in use until it is taken back, and refuses to assign it again
    message = _message(gate, version, facts)
    done = _by_gto(api.assign, gate, stage=STAGE, version=version, message=message, force=True)
    return str(done.tag)


def _by_gto(function: Any, gate: str, **arguments: Any) -> Any:
    from gto.exceptions import GTOException
    from scmrepo.exceptions import SCMError

    try:
        return function(".", gate, **arguments)
    except (GTOException, SCMError) as error:
        raise ValueError(f"gto: {error}") from error


def _message(gate: str, version: str, facts: Mapping[str, Any]) -> str:
    lines = [f"{name}: {' '.join(str(value).split())}" for name, value in facts.items() if value != ""]
    return "\n".join([f"{gate} {version}", "", *lines])


def _facts(message: str) -> dict[str, str]:
    pairs = (line.partition(": ") for line in message.splitlines())
    return {name: value for name, colon, value in pairs if colon}


def _tags(pattern: str) -> list[tuple[str, str, str]]:
    """Name, commit and message of annotated tags; others have no commit behind their object."""
    records = said("git", "for-each-ref", f"--format={FORMAT}", f"refs/tags/{pattern}").split("\x01")
    tags = (record.strip("\n").split("\0") for record in records if record.strip("\n"))
    return [(name, commit, message) for name, commit, message in tags if commit]


def _numbers(version: str) -> tuple[int, int, int]:
    major, minor, patch = map(int, version.removeprefix("v").split("."))
    return major, minor, patch
