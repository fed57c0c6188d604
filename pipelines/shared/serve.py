"""Serves a folder on this machine while a stage runs: a site, or shards whose members are reached as files."""

import os
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from posixpath import normpath
from typing import Any

from pipelines.shared.guard import LOOPBACK


class QuietHandler(SimpleHTTPRequestHandler):
    """Files of a folder, over connections that stay open; no listings, no log. `/a.tar/b.jpg` is member b.jpg of a.tar.

    A tar's names and offsets stay in memory once it was asked for: about half a kilobyte per member.
    """

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16

    def send_head(self) -> Any:
        """The answer's head; returns the body's file, or None where there is none."""
        folder, mark, name = self.translate_path(self.path).partition(".tar/")
        shard = Path(folder + ".tar")
        if not mark or not shard.is_file():
            return super().send_head()
        if name not in (places := tar_places(shard)):
            return self.send_error(HTTPStatus.NOT_FOUND)
        offset, num_bytes = places[name]
        with shard.open("rb") as handle:
            content = os.pread(handle.fileno(), num_bytes, offset)
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


@cache
def tar_places(path: Path) -> dict[str, tuple[int, int]]:
    """Offset and size of each file in a tar, by name."""
    with tarfile.open(path, "r:") as archive:
        return {normpath(each.name): (each.offset_data, each.size) for each in archive if each.isfile()}


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
