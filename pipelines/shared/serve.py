"""Serves a folder on this machine while a stage runs: a site, or shards whose members are reached as files."""

import errno
import hashlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import cache, partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO

from yarl import URL

from pipelines.shared.files import digest_file
from pipelines.shared.guard import LOOPBACK, SERVED_ORIGIN
from pipelines.shared.tars import TarError, tar_members

CHUNK_BYTES = 1 << 20


class QuietHandler(SimpleHTTPRequestHandler):
    """Files of a folder, over connections that stay open; no listings, no log. `/a.tar/b.jpg` is member b.jpg of a.tar.

    A tar's names and offsets stay in memory once it was asked for: about half a kilobyte per member.
    """

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16

    def send_head(self) -> Any:
        """The answer's head; returns the body's file, or None where there is none."""
        place = self.translate_path(self.path)
        if not may_be_a_name(place):
            return self.send_error(HTTPStatus.NOT_FOUND)
        split = split_member(place)
        if split is None:
            return super().send_head()
        part = open_member(*split)
        if part is None:
            return self.send_error(HTTPStatus.NOT_FOUND)
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", self.guess_type(split[1]))
        self.send_header("Content-Length", str(part.left))
        self.end_headers()
        return part

    def list_directory(self, path: Any) -> None:
        """A folder without an index.html is not there."""
        self.send_error(HTTPStatus.NOT_FOUND)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is logged."""


class Part:
    """A stretch of a file, read from its start to its end."""

    def __init__(self, handle: BinaryIO, offset: int, num_bytes: int) -> None:
        handle.seek(offset)
        self.handle = handle
        self.left = num_bytes

    def read(self, size: int = -1) -> bytes:
        """The next bytes, at most so many; fewer than `left` only where the file became shorter."""
        content = self.handle.read(self.left if size < 0 else min(size, self.left))
        self.left -= len(content)
        return content

    def close(self) -> None:
        """Close the file."""
        self.handle.close()


def may_be_a_name(place: str) -> bool:
    """Whether a file system can hold a path at all."""
    try:
        return b"\0" not in os.fsencode(place)
    except UnicodeEncodeError:
        return False


def is_there(check: Callable[[], bool]) -> bool:
    """What `Path.is_file` or `Path.is_dir` says; no where the name is longer than a file system takes."""
    try:
        return check()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return False
        raise


@cache
def tar_places(path: Path, mtime_ns: int, num_bytes: int) -> dict[str, tuple[int, int]]:
    """Offset and size of each file in a tar, by name; the tar's time and size tell a new one from the one before.

    Names are without `.` and empty parts, as a server reads a path; a file of another kind of name is not there. Of
    members of one name the last one counts, as `tar` extracts them. A file that is no whole tar has no members.
    """
    try:
        with path.open("rb") as handle:
            files = [(each.place, each) for each in tar_members(handle) if each.kind == "file"]
    except TarError:
        return {}
    return {place: (each.offset, each.num_bytes) for place, each in files if place}


def split_member(place: str) -> tuple[Path, str] | None:
    """The tar, and the name in it, of a path that leads into a tar; None for every other path."""
    at = place.find(".tar/")
    while at >= 0:
        if is_there((shard := Path(place[: at + 4])).is_file):
            return shard, place[at + 5 :]
        at = place.find(".tar/", at + 1)
    return None


def open_member(shard: Path, name: str) -> Part | None:
    """A file in a tar; None where there is none of that name."""
    status = shard.stat()
    place = tar_places(shard, status.st_mtime_ns, status.st_size).get(name)
    return Part(shard.open("rb"), *place) if place else None


def read_member(shard: Path, name: str) -> bytes | None:
    """The bytes of a file in a tar; None where there is none of that name."""
    part = open_member(shard, name)
    if part is None:
        return None
    with closing(part):
        return part.read()


class ServedFiles:
    """What is behind the URLs of a folder that is served, known without asking the server."""

    def __init__(self, folder: Path, digests: Mapping[str, str]) -> None:
        """`digests` has the sha256 of files by name relative to the folder; files that it lacks are hashed."""
        self.folder = folder
        self.directory = str(folder)
        self._digests = dict(digests)

    def holds(self, url: str) -> bool:
        """Whether a URL leads to the served site."""
        return url.startswith(f"{SERVED_ORIGIN}/")

    def digest(self, url: str) -> str | None:
        """sha256 of the body behind a URL of the site; empty where there is none, None where a folder stands there."""
        # the handler's own reading of a path needs nothing but a folder
        place = QuietHandler.translate_path(self, URL(url, encoded=True).raw_path_qs)  # type: ignore[arg-type]
        if is_there(Path(place).is_dir):
            return None
        relative = Path(place).relative_to(self.folder).as_posix()
        if place.endswith("/"):
            return ""
        if relative not in self._digests:
            self._digests[relative] = self._hashed(place)
        return self._digests[relative]

    def _hashed(self, place: str) -> str:
        if (split := split_member(place)) is None:
            return digest_file(Path(place)) if is_there(Path(place).is_file) else ""
        part = open_member(*split)
        if part is None:
            return ""
        digest = hashlib.sha256()
        with closing(part):
            while chunk := part.read(CHUNK_BYTES):
                digest.update(chunk)
        return digest.hexdigest()


class Server(ThreadingHTTPServer):
    """A thread per connection; a client that goes away is no news."""

    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing is printed."""


@contextmanager
def serving(folder: Path | None) -> Iterator[int | None]:
    """Serve a folder on 127.0.0.1 while the block runs.

    Args:
        folder: The folder; nothing is served when None.

    Yields:
        The port, chosen by the system, or None.

    Raises:
        ValueError: There is no such folder.
    """
    if folder is None:
        yield None
        return
    if not folder.is_dir():
        raise ValueError(f"serve: {folder} is not a folder")
    with Server((LOOPBACK, 0), partial(QuietHandler, directory=str(folder))) as server:
        thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.05), daemon=True)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()
