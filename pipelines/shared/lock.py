"""`sources.lock`: what the sources were when somebody last looked, so that a rebuild replays history.

JSON in the project's folder: for each source the digest of the folder that is served and the digests of its lists; for
sources on the web also the day on which a change was last noticed, how many links there were, and a digest of how they
differed from the crawl before. `vignette refresh` writes it, crawls check it, and each crawl stage depends on its own
source's entry alone.
"""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.shared.documents import read_json
from pipelines.shared.files import digest_file, digest_names, file_digests, write_json
from pipelines.shared.inputs import bring_file, bring_folder, local_folder
from pipelines.shared.params import suggestion
from pipelines.shared.storage import is_url

LOCK_FILE = Path("sources.lock")


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalState:
    """What a source reads on this machine.

    Attributes:
        serve: The folder that is served, the local copy where the setting is a URL; empty for none.
        digests: Of that folder and of each list, by path or URL.
        served: sha256 of each of the folder's files, by relative name.
    """

    serve: str = ""
    digests: Mapping[str, str] = field(default_factory=dict)
    served: Mapping[str, str] = field(default_factory=dict)


def local_state(serve: str, files: tuple[str, ...]) -> LocalState:
    """Hash what a source reads on this machine, and what it reads by URL once that has been copied to it.

    Raises:
        ValueError: Some of it is missing.
    """
    digests: dict[str, str] = {}
    served: dict[str, str] = {}
    if is_url(serve):
        served = bring_folder(serve)
    elif serve:
        if not Path(serve).is_dir():
            raise ValueError(f"serve: {serve} is not a folder")
        served = file_digests(Path(serve))
    if serve:
        digests[serve] = digest_names(served)
    for name in files:
        if is_url(name):
            digests[name] = bring_file(name)
            continue
        if not Path(name).is_file():
            raise ValueError(f"{name} does not exist")
        digests[Path(name).as_posix()] = digest_file(Path(name))
    return LocalState(serve=local_folder(serve).as_posix() if serve else "", digests=digests, served=served)


def lock_entry(state: LocalState, today: datetime.date) -> dict[str, Any]:
    """What `sources.lock` says of a source that nobody has compared with an earlier crawl."""
    entry: dict[str, Any] = {"local": dict(state.digests)}
    return entry if state.serve else entry | {"day": today.isoformat()}


def read_lock() -> dict[str, dict[str, Any]]:
    """All of `sources.lock`; empty if there is none.

    Raises:
        ValueError: It is not what `vignette refresh` writes.
    """
    if not LOCK_FILE.exists():
        return {}
    try:
        values = read_json(LOCK_FILE)
    except ValueError as error:
        raise ValueError(f"{error}; run `vignette refresh`") from error
    if not isinstance(values, dict) or not all(isinstance(entry, dict) for entry in values.values()):
        raise ValueError(f"{LOCK_FILE} is not a mapping of sources: run `vignette refresh`")
    return values


def write_lock(entries: Mapping[str, Mapping[str, Any]]) -> None:
    """Write `sources.lock`."""
    write_json(LOCK_FILE, entries)


def check_lock(source: str, state: LocalState) -> dict[str, Any]:
    """The source's entry in `sources.lock`, if what lies on this machine is still what it says.

    Raises:
        ValueError: There is no entry, or something has changed since.
    """
    entries = read_lock()
    if source not in entries:
        raise ValueError(
            f"{LOCK_FILE} has no {source!r}{suggestion(source, entries)}: run `vignette refresh {source}` to note it"
        )
    now, noted = state.digests, entries[source].get("local", {})
    for path in sorted(now.keys() | noted.keys()):
        if now.get(path) != noted.get(path):
            raise ValueError(f"{path} changed since {LOCK_FILE} was written: run `vignette refresh`")
    return entries[source]
