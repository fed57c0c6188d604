"""Files that are either whole or not there: atomic writes, digests, links."""

import errno
import glob
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHUNK_BYTES = 1 << 20
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)
RUST_ERROR = re.compile(r"\(os error (\d+)\)")


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path in the same folder that takes the place of `path` when the block ends without an exception.

    No two calls share it, not even those of machines that see one folder: a task that a cluster has given to a second
    worker may still run on the first one.

    Raises:
        OSError: What the system said, with the name of `path`, whoever wrote.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    with naming(path):
        try:
            yield temporary
            with temporary.open("rb") as handle:
                os.fsync(handle.fileno())
            temporary.replace(path)
            sync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Name a path in an error of the disk that names none, as those of a write do, or that a library has put in words.

    Raises:
        OSError: In the place of such an error.
    """
    try:
        yield
    except Exception as error:
        number = disk_error(error)
        names = [name for name in (getattr(error, "filename", None), getattr(error, "filename2", None)) if name]
        is_temporary = any(str(name).endswith(".tmp") for name in names)  # a copy names its source before it
        if number is None or (names and not is_temporary):
            raise
        raise OSError(number, os.strerror(number), str(path)) from error


def disk_error(error: BaseException) -> int | None:
    """The number of an error that a disk is to blame for: full, failing, read-only; None for another one."""
    number = error.errno if isinstance(error, OSError) else None
    if found := RUST_ERROR.search(str(error)):
        number = int(found[1])
    return number if number in DISK_ERRORS else None


def sync_folder(folder: Path) -> None:
    """Make renames in a folder survive a power loss."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def checked_lines(path: Path, sha256: str) -> list[str]:
    """The lines of a UTF-8 text file without white space at their ends, empty ones left out.

    Raises:
        ValueError: The file is missing or not the one of that digest.
    """
    if not path.is_file():
        raise ValueError(f"{path} does not exist")
    if (found := digest_file(path)) != sha256:
        raise ValueError(f"{path} has sha256 {found}, the settings say {sha256}")
    return [line for line in map(str.strip, path.read_text(encoding="utf-8").splitlines()) if line]


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically: sorted keys, two spaces, no NaN, one newline at the end."""
    write_bytes(path, (canonical_json(value, indent=2) + "\n").encode())


def canonical_json(value: Any, *, indent: int | None = None) -> str:
    """JSON text that depends on the value alone."""
    separators = (",", ": ") if indent else (",", ":")
    return json.dumps(value, sort_keys=True, indent=indent, ensure_ascii=False, allow_nan=False, separators=separators)


def digest_json(value: Any) -> str:
    """sha256 of the canonical JSON of a value."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def digest_file(path: Path) -> str:
    """sha256 of a file's bytes."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def digest_tree(folder: Path, pattern: str = "*") -> str:
    """sha256 over the relative names and bytes of all files under a folder whose names match."""
    return digest_names(file_digests(folder, pattern))


def file_digests(folder: Path, pattern: str = "*") -> dict[str, str]:
    """sha256 of all files under a folder whose names match, by relative name with forward slashes."""
    paths = sorted(path for path in folder.rglob(pattern) if path.is_file())
    return {path.relative_to(folder).as_posix(): digest_file(path) for path in paths}


def digest_names(digests: Mapping[str, str]) -> str:
    """sha256 over names and digests, in the order given."""
    lines = "".join(f"{name}\x00{digest}\n" for name, digest in digests.items())
    return hashlib.sha256(lines.encode(errors="surrogateescape")).hexdigest()


def link_or_copy(source: Path, target: Path) -> None:
    """Put a finished file at a second place, without a copy where the file system allows it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        with atomic_path(target) as temporary:
            shutil.copyfile(source, temporary)


def clear_folder(folder: Path) -> None:
    """An empty folder, whatever was there before; a kill leaves the old one whole or none."""
    remove_folder(folder)
    folder.mkdir(parents=True)


def remove_folder(folder: Path) -> None:
    """Remove a folder, if it is there: it loses its name first, so that none is ever seen of which a part is gone.

    What an earlier call did not come to remove goes too.
    """
    if folder.is_symlink():
        folder.unlink()
    elif folder.exists():
        folder.rename(folder.with_name(f".{folder.name}.{secrets.token_hex(8)}.gone"))
    for gone in folder.parent.glob(f".{glob.escape(folder.name)}.*.gone"):
        shutil.rmtree(gone, ignore_errors=True)
