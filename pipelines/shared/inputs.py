"""Local copies of what sources read where a setting of the operator's names it by URL (`s3://bucket/list.parquet`).

A copy is in `.vignette/inputs`, beside a note of the object's version (ETag, time, ...) and of the sha256 of the bytes
that came. While the version is the same and the copy has that sha256 it is used; else the object is fetched again.
`sources.lock` notes the sha256, under the URL. Links of a source are never read this way: they go through the fetcher.
"""

import fcntl
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from pipelines.shared.files import digest_file, digest_json, write_json
from pipelines.shared.stage import STATE
from pipelines.shared.storage import RemoteFolder, in_parallel, is_url, split_url

INPUTS = STATE / "inputs"
VERSION_FACTS = (
    *("ETag", "etag", "VersionId", "generation", "md5", "md5Hash", "content_md5", "checksum"),
    *("LastModified", "last_modified", "updated", "mtime", "modified", "created"),
)


def local_file(name: str) -> Path:
    """The file of a setting: its path, or where the copy of a URL's object is once `bring_file` has brought it."""
    return _home(name) / split_url(name)[1] if is_url(name) else Path(name)


def local_folder(name: str) -> Path:
    """The folder of a setting: its path, or where copies of a URL's objects are, see `bring_folder`."""
    return _home(name) if is_url(name) else Path(name)


def bring_file(url: str) -> str:
    """Make the local copy of an object what the object is now; returns its sha256.

    Raises:
        ValueError: There is no such object, or it cannot be read.
    """
    folder, name = split_url(url)
    remote = RemoteFolder(folder)
    with _locked(_home(url)) as home:
        return _brought(remote, name, remote.facts(name), home)


def bring_folder(url: str) -> dict[str, str]:
    """Make the local copy of a folder what the folder is now; returns the sha256 of each file, by name.

    Raises:
        ValueError: There is nothing, an object cannot be read, or its name is none for a file.
    """
    remote = RemoteFolder(url)
    listed = remote.listed()
    if not listed:
        raise ValueError(f"{url} is not a folder with objects")
    for name in listed:
        if name != PurePosixPath(name).as_posix() or not {"", "..", "."}.isdisjoint(name.split("/")):
            raise ValueError(f"{url} has an object whose name is none for a file: {name!r}")
    with _locked(_home(url)) as home:
        for path in sorted(home.rglob("*")):
            if path.is_file() and path.relative_to(home).as_posix() not in listed:
                path.unlink()
        digests = in_parallel(lambda name: _brought(remote, name, listed[name], home), list(listed), url)
    return dict(zip(listed, digests, strict=True))


def _brought(remote: RemoteFolder, name: str, facts: Mapping[str, Any], home: Path) -> str:
    path, note = home / name, _note(home, name)
    known = {key: str(facts[key]) for key in VERSION_FACTS if facts.get(key)}
    version = digest_json({**known, "size": facts["size"]}) if known else ""
    noted = json.loads(note.read_bytes()) if note.exists() else {"version": "", "sha256": ""}
    if version and noted["version"] == version and path.is_file() and digest_file(path) == noted["sha256"]:
        return str(noted["sha256"])
    remote.download(name, path)
    if path.stat().st_size != facts["size"]:
        raise ValueError(f"{remote.place(name)} changed while it was read: try again")
    sha256 = digest_file(path)
    write_json(note, {"version": version, "sha256": sha256})
    return sha256


@contextmanager
def _locked(home: Path) -> Iterator[Path]:
    """One stage at a time: several may run side by side, and name the same folder."""
    home.mkdir(parents=True, exist_ok=True)
    with home.with_name("lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield home


def _home(url: str) -> Path:
    return INPUTS / hashlib.sha256(url.encode()).hexdigest()[:16] / "files"


def _note(home: Path, name: str) -> Path:
    return home.with_name("notes") / f"{hashlib.sha256(name.encode()).hexdigest()}.json"
