"""`sources.lock`: what the sources were when somebody last looked, so that a rebuild replays history.

JSON in the project's folder: for each source the digest of the folder that is served, the digests of its lists, and for
sources on the web the day of the refresh (a new day makes a new crawl). `vignette refresh` writes it, crawls check it.
"""

import datetime
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.shared.files import digest_file, digest_tree, write_json
from pipelines.shared.params import suggestion

LOCK_FILE = Path("sources.lock")


def local_state(serve: str, files: tuple[Path, ...]) -> dict[str, str]:
    """Digests of what a source reads on this machine, by path.

    Raises:
        ValueError: Some of it is missing.
    """
    state = {}
    if serve:
        if not Path(serve).is_dir():
            raise ValueError(f"serve: {serve} is not a folder")
        state[serve] = digest_tree(Path(serve))
    for path in files:
        if not path.is_file():
            raise ValueError(f"{path} does not exist")
        state[path.as_posix()] = digest_file(path)
    return state


def lock_entry(serve: str, files: tuple[Path, ...], today: datetime.date) -> dict[str, Any]:
    """What `sources.lock` says of a source."""
    state: dict[str, Any] = {"local": local_state(serve, files)}
    return state if serve else state | {"day": today.isoformat()}


def read_lock() -> dict[str, dict[str, Any]]:
    """All of `sources.lock`; empty if there is none.

    Raises:
        ValueError: It is not what `vignette refresh` writes.
    """
    if not LOCK_FILE.exists():
        return {}
    try:
        values = json.loads(LOCK_FILE.read_bytes())
    except ValueError as error:
        raise ValueError(f"{LOCK_FILE} is not JSON: run `vignette refresh`") from error
    if not isinstance(values, dict) or not all(isinstance(entry, dict) for entry in values.values()):
        raise ValueError(f"{LOCK_FILE} is not a mapping of sources: run `vignette refresh`")
    return values


def write_lock(entries: Mapping[str, Mapping[str, Any]]) -> None:
    """Write `sources.lock`."""
    write_json(LOCK_FILE, entries)


def check_lock(source: str, serve: str, files: tuple[Path, ...]) -> dict[str, Any]:
    """The source's entry in `sources.lock`, if what lies on this machine is still what it says.

    Raises:
        ValueError: There is no entry, or something has changed since.
    """
    entries = read_lock()
    if source not in entries:
        raise ValueError(
            f"{LOCK_FILE} has no {source!r}{suggestion(source, entries)}: run `vignette refresh {source}` to note it"
        )
    now, noted = local_state(serve, files), entries[source].get("local", {})
    for path in sorted(now.keys() | noted.keys()):
        if now.get(path) != noted.get(path):
            raise ValueError(f"{path} changed since {LOCK_FILE} was written: run `vignette refresh`")
    return entries[source]
