"""The one door to other file systems: a folder behind any URL that `fsspec` knows (`s3://`, `gs://`, `memory://`, ...).

Credentials and endpoints come from where the file system's own library looks for them (environment, profile, instance
role; `FSSPEC_<SCHEME>_<OPTION>`), never from our settings. What goes wrong is a `ValueError` that names the URL. Errors
that may pass are tried again here, on top of what a file system's library does itself.
"""

import functools
import hashlib
import re
import secrets
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pipelines.shared.files import atomic_path, digest_file
from pipelines.shared.progress import progress

S = TypeVar("S")
T = TypeVar("T")
URL = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<rest>.*)")
EXTRAS = {"s3": "s3", "s3a": "s3"}
PUTS_WHOLE = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "oss", "memory"})
TRANSFERS_AT_A_TIME = 8
READ_BYTES = 8 << 20  # at a time; s3fs alone would take 50 MiB for each of the transfers that run
PAUSES_SEC = (0.5, 2.0)
NO_CREDENTIALS = frozenset({"NoCredentialsError", "PartialCredentialsError", "ProfileNotFound"})
LASTING = (IsADirectoryError, NotADirectoryError)


def is_url(text: str) -> bool:
    """Whether a setting names a place on another file system, and not a path of this machine."""
    return URL.fullmatch(text) is not None


def split_url(url: str) -> tuple[str, str]:
    """The URL of the folder that an object is in, and its name there."""
    match = URL.fullmatch(url)
    assert match, f"{url} is not a URL"
    folder, _, name = match["rest"].rpartition("/")
    return f"{match['scheme']}://{folder}", name


@dataclass(frozen=True, slots=True)
class RemoteFolder:
    """A folder on another file system; names are relative to it, with forward slashes. Picklable.

    Attributes:
        url: Where it is. It must not hold a password.
    """

    url: str

    def __post_init__(self) -> None:
        match = URL.fullmatch(self.url)
        if not match:
            raise ValueError(f"must be a URL such as s3://bucket/folder, got {self.url!r}")
        user, mark, _ = match["rest"].partition("/")[0].rpartition("@")
        if mark and ":" in user:
            raise ValueError(f"a {match['scheme']} URL must not hold a password: credentials come from the environment")

    def place(self, name: str) -> str:
        """The URL of an object."""
        return f"{self.url.rstrip('/')}/{name}" if name else self.url

    def num_bytes(self, name: str) -> int | None:
        """Size of an object; None if there is none."""
        try:
            return int(self.facts(name)["size"])
        except MissingError:
            return None

    def facts(self, name: str) -> dict[str, Any]:
        """What the file system says of an object: its `size`, and what tells versions apart there."""
        files, path = self._at(name)
        return dict(_tried(self.place(name), lambda: files.info(path)))

    def listed(self, below: str = "") -> dict[str, dict[str, Any]]:
        """Facts of all objects below a name, by name, in order; empty where there is nothing.

        Names that begin with a full stop are left out: uploads that were not finished.
        """
        files, path = self._at(below)
        found = _tried(self.place(below), lambda: files.find(path, detail=True))
        root = self._at("")[1].rstrip("/") + "/"
        names = {str(place).removeprefix(root): dict(facts) for place, facts in found.items()}
        return {name: names[name] for name in sorted(names) if not name.rpartition("/")[2].startswith(".")}

    def download(self, name: str, target: Path, sha256: str = "") -> None:
        """Copy an object to a file, atomically.

        Args:
            name: The object.
            target: The file.
            sha256: Digest that its bytes must have; empty if it is not known.

        Raises:
            ValueError: It has another one, or cannot be read.
        """
        files, path = self._at(name)
        with atomic_path(target) as temporary:
            _tried(self.place(name), lambda: files.get_file(path, str(temporary)))
            if sha256 and (found := digest_file(temporary)) != sha256:
                raise ValueError(f"{self.place(name)} is damaged: its sha256 is {found}, expected {sha256}: remove it")

    def upload(self, source: Path, name: str) -> None:
        """Copy a file to an object, which is then there as a whole or not at all."""
        files, path = self._at(name)
        if not PUTS_WHOLE.isdisjoint([files.protocol] if isinstance(files.protocol, str) else files.protocol):
            _tried(self.place(name), lambda: files.put_file(str(source), path))
            return
        folder, _, last = path.rpartition("/")
        temporary = f"{folder}/.{last}.{secrets.token_hex(8)}.tmp"
        _tried(self.place(name), lambda: files.makedirs(folder, exist_ok=True))
        _tried(self.place(name), lambda: files.put_file(str(source), temporary))
        _tried(self.place(name), lambda: files.mv(temporary, path))

    def read(self, name: str) -> bytes:
        """The bytes of a small object."""
        files, path = self._at(name)
        return bytes(_tried(self.place(name), lambda: files.cat_file(path)))

    def digest(self, name: str) -> str:
        """sha256 of an object, which is read as a stream."""
        files, path = self._at(name)

        def read() -> str:
            with files.open(path, "rb", block_size=READ_BYTES) as handle:
                return hashlib.file_digest(handle, "sha256").hexdigest()

        return _tried(self.place(name), read)

    def remove(self, below: str) -> None:
        """Remove an object, or all objects below a name; nothing there is no error."""
        files, path = self._at(below)

        def remove() -> None:
            if files.exists(path):
                files.rm(path, recursive=True)

        _tried(self.place(below), remove)

    def _at(self, name: str) -> tuple[Any, str]:
        """The file system, and the path of an object on it."""
        files, root = _file_system(self.url)
        return files, f"{root.rstrip('/')}/{name}" if name else root


class MissingError(ValueError):
    """There is no such object."""


def in_parallel(transfer: Callable[[S], T], items: Sequence[S], what: str) -> list[T]:
    """What transfers give, in the order of the items, several at a time with a bar; the first error ends them."""
    if not items:
        return []
    with ThreadPoolExecutor(TRANSFERS_AT_A_TIME) as pool, progress(total=len(items), desc=what, unit="file") as bar:
        done = []
        try:
            for result in pool.map(transfer, items):
                done.append(result)
                bar.update()
        finally:
            pool.shutdown(cancel_futures=True)
        return done


@functools.cache
def _file_system(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path on it; listings are never kept, because others write too."""
    import fsspec.core

    scheme = url.partition("://")[0]
    try:
        files, path = fsspec.core.url_to_fs(url, use_listings_cache=False)
    except ImportError as error:
        how = f"pip install 'vignette[{EXTRAS[scheme]}]'" if scheme in EXTRAS else str(error)
        raise ValueError(f"{url}: the library for {scheme}:// is not installed: {how}") from error
    except ValueError as error:
        raise ValueError(f"{url}: {error}") from error
    return files, str(path)


def _tried(url: str, call: Callable[[], T]) -> T:
    """What a call to a file system gives; an error of input and output that may pass gets two further tries.

    Raises:
        MissingError: The object is not there.
        ValueError: Anything else that its library raises.
    """
    for pause_sec in (*PAUSES_SEC, None):
        try:
            return call()
        except FileNotFoundError as error:
            raise MissingError(f"{url} does not exist") from error
        except PermissionError as error:
            raise ValueError(f"{url}: access is denied to the credentials of this machine: {error}") from error
        except NotImplementedError as error:
            raise ValueError(f"{url}: this file system cannot do that: {error}") from error
        except Exception as error:  # libraries have errors of their own
            if type(error).__name__ in NO_CREDENTIALS:
                raise ValueError(f"{url}: no credentials on this machine: {error}") from error
            if pause_sec is None or not isinstance(error, OSError) or isinstance(error, LASTING):
                raise ValueError(f"{url}: {type(error).__name__}: {error}") from error
            time.sleep(pause_sec)
    raise AssertionError("the last try has returned or raised")
