"""Serves a folder on this machine while a stage runs: the site that a source is read from at the debug scale."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from pipelines.shared.guard import LOOPBACK


class QuietHandler(SimpleHTTPRequestHandler):
    """Files of a folder, over connections that stay open; no listings, no log."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16

    def list_directory(self, path: Any) -> None:
        """A folder without an index.html is not there."""
        self.send_error(HTTPStatus.NOT_FOUND)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is logged."""


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
