"""Serves a folder on this machine while a stage runs: a site, or shards whose members are reached as files."""

import errno
import hashlib
import os
import tarfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache, partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from posixpath import normpath
from typing import Any

from yarl import URL

from pipelines.shared.files import digest_file
from pipelines.shared.guard import LOOPBACK, SERVED_ORIGIN


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
        folder, mark, name = place.partition(".tar/")
        shard = Path(folder + ".tar")
        if not mark or not is_there(shard.is_file):
            return super().send_head()
        content = read_member(shard, name)
        if content is None:
            return self.send_error(HTTPStatus.NOT_FOUND)
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", self.guess_type(name))
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        return BytesIO(content)

    def list_directory(self, path: Any) -> None:
        """A folder without an index.html is not there."""
        self.send_error(HTTPStatus.NOT_FOUND)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is logged."""


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
    """Offset and size of each file in a tar, by name; the tar's time and size tell a new one from the one before."""
    with tarfile.open(path, "r:") as archive:
        return {normpath(each.name): (each.offset_data, each.size) for each in archive if each.isfile()}


def read_member(shard: Path, name: str) -> bytes | None:
    """A file in a tar; None where there is none of that name."""
    status = shard.stat()
    place = tar_places(shard, status.st_mtime_ns, status.st_size).get(name)
    if place is None:
        return None
    with shard.open("rb") as handle:
        return os.pread(handle.fileno(), place[1], place[0])


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
        folder, mark, name = place.partition(".tar/")
        if mark and is_there(Path(folder + ".tar").is_file):
            content = read_member(Path(folder + ".tar"), name)
            return "" if content is None else hashlib.sha256(content).hexdigest()
        return digest_file(Path(place)) if is_there(Path(place).is_file) else ""


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
