"""DVC's files as they are on disk: its lock, its digests of folders, its cache of objects and of runs.

DVC's digest of a folder is the md5 of the JSON list of its files' md5 and paths; that list is an object of the cache as
well, `<md5>.dir`. A run that is kept lies in `.dvc/cache/runs/<key>/<value>`, named by the sha256 of what it was made
from and of itself. Only the default cache folder is looked at.
"""

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pipelines.shared.documents import parse_json, parse_yaml
from pipelines.shared.dvc_lock import MD5_DIGITS
from pipelines.shared.files import CHUNK_BYTES

CACHE = Path(".dvc/cache/files/md5")
RUN_CACHE = Path(".dvc/cache/runs")
IGNORE_FILE = Path(".dvcignore")
FOLDER_SUFFIX = ".dir"
NOT_HASHED = ("size", "nfiles")


@dataclass(frozen=True, slots=True)
class Digests:
    """Digests of one file."""

    num_bytes: int
    sha256: str
    md5: str


@dataclass(frozen=True, slots=True)
class Listed:
    """A file or folder as `dvc.lock` lists it, or as it is; sizes are None where they are not known."""

    md5: str
    num_bytes: int | None
    num_files: int | None = None


def hash_file(path: Path) -> Digests:
    """Both digests of a file, in one reading."""
    sha256, md5, count = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
    with path.open("rb") as handle:
        while chunk := handle.read(CHUNK_BYTES):
            sha256.update(chunk)
            md5.update(chunk)
            count += len(chunk)
    return Digests(count, sha256.hexdigest(), md5.hexdigest())


def files_under(root: Path) -> list[Path]:
    """The file itself, or all files of a folder that DVC does not ignore."""
    if root.is_file():
        return [root]
    patterns = ignored_patterns()
    return sorted(path for path in root.rglob("*") if path.is_file() and not is_ignored(path, patterns))


def ignored_patterns() -> tuple[str, ...]:
    """The lines of `.dvcignore`: names at any depth, or paths from the project's folder where there is a slash."""
    lines = IGNORE_FILE.read_text(encoding="utf-8").splitlines() if IGNORE_FILE.is_file() else []
    return tuple(line.strip() for line in lines if line.strip() and not line.startswith("#"))


def is_ignored(path: Path, patterns: tuple[str, ...]) -> bool:
    """Whether a path, or a folder above it, is one that DVC ignores."""
    for pattern in patterns:
        names = path.parts if "/" not in pattern.rstrip("/") else [str(each) for each in (path, *path.parents)]
        if any(fnmatchcase(name, pattern.strip("/")) for name in names):
            return True
    return False


def folder_md5(files: Mapping[str, str]) -> str:
    """DVC's digest of a folder, from md5 by relative path."""
    listing = [{"md5": files[name], "relpath": name} for name in sorted(files)]
    return hashlib.md5(json.dumps(listing, sort_keys=True).encode(), usedforsecurity=False).hexdigest() + FOLDER_SUFFIX


def as_listed(path: Path, found: Mapping[Path, Digests]) -> Listed:
    """A file or folder as DVC would list it now; digests that are not among those found are made."""
    if path.is_file():
        digests = found.get(path) or hash_file(path)
        return Listed(digests.md5, digests.num_bytes)
    files = {each.relative_to(path).as_posix(): found.get(each) or hash_file(each) for each in files_under(path)}
    total = sum(digests.num_bytes for digests in files.values())
    return Listed(folder_md5({name: digests.md5 for name, digests in files.items()}), total, len(files))


def cache_path(md5: str) -> Path:
    """Where the cache has an object."""
    return CACHE / md5[:2] / md5[2:]


def cached_listing(md5: str) -> dict[str, str] | None:
    """What the cache says is in a folder, md5 by relative path; None if it does not know, or its object is damaged."""
    path = cache_path(md5)
    if not md5.endswith(FOLDER_SUFFIX) or not path.is_file() or is_damaged_object(path, hash_file(path)):
        return None
    return {str(entry["relpath"]): str(entry["md5"]) for entry in parse_json(path.read_bytes(), str(path))}


def is_damaged_object(path: Path, digests: Digests) -> bool:
    """Whether an object of the cache is other than its name, which is its digest, says."""
    return digests.md5 != (path.parent.name + path.name).removesuffix(FOLDER_SUFFIX)


def is_damaged_run(path: Path, sizes: Mapping[tuple[str, str], Listed]) -> bool:
    """Whether a kept run is other than its name and its folder's name, which are its digests, say.

    Args:
        path: Its file.
        sizes: Files and folders of known size by path and md5: DVC's digests of runs leave sizes out.
    """
    try:
        content = path.read_text(encoding="utf-8")
        run = parse_yaml(content, str(path))
        made_from = {**run, "outs": [out["path"] for out in run.get("outs", [])]}
        listed = [(entry["path"], as_entry(entry)) for part in ("deps", "outs") for entry in run.get(part, [])]
        is_right = yaml_text(run) == content and all(sizes.get((name, it.md5), it) == it for name, it in listed)
        return not is_right or (_run_digest(made_from), _run_digest(run)) != (path.parent.name, path.name)
    except (ValueError, TypeError, KeyError, AttributeError):
        return True


def as_entry(entry: Mapping[str, Any]) -> Listed:
    """An entry of `deps` or `outs`, of the lock or of a kept run."""
    return Listed(entry["md5"], entry.get("size"), entry.get("nfiles"))


def yaml_text(values: Any) -> str:
    """YAML as DVC writes it."""
    writer, written = YAML(), io.StringIO()
    writer.default_flow_style = False
    writer.dump(values, written)
    return written.getvalue()


def _run_digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(_hashed(value), sort_keys=True).encode()).hexdigest()


def _hashed(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _hashed(item) for name, item in value.items() if name not in NOT_HASHED}
    return [_hashed(item) for item in value] if isinstance(value, list) else value


def is_md5(value: Any) -> bool:
    """Whether a value of `dvc.lock` is a digest."""
    digits = str(value).removesuffix(FOLDER_SUFFIX)
    return isinstance(value, str) and len(digits) == MD5_DIGITS and set(digits) <= set("0123456789abcdef")
