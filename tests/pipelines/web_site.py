"""A web server on this machine that counts as any machine of the web: ETag, 304, and a log of all requests."""

import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from yarl import URL

from pipelines import crawl
from pipelines.shared import crawl_settings
from pipelines.shared.files import write_json
from pipelines.shared.guard import LOOPBACK, Guard
from pipelines.shared.jobs import Task, result_path
from pipelines.shared.stage import StageRun
from tests.pipelines.crawl_site import still

HOME = "http://toys.example"
PAST = "Sun, 06 Nov 1994 08:49:37 GMT"
PARAMS = """
seed: 0
crawl: {{contact: "https://me.example/bot", fetch: {{retries: 0, backoff_sec: 0, deadline_sec: 5}}}}
sources:
  web: {{module: html_site, start: "{home}/toys/", samples_per_shard: {size}, delay_sec: 0, requests_per_host: 8}}
"""


class WebSite:
    """Files by path, such as `/toys/a.png`.

    Attributes:
        files: What is there; a number is a status that is answered without a body.
        headers: Further headers, by path.
        is_dated: Answer with Last-Modified instead of ETag.
        log: Path and status of each request, in order.
        port: Of the server.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes | int] = {"/robots.txt": b""}
        self.headers: dict[str, dict[str, str]] = {}
        self.is_dated = False
        self.log: list[tuple[str, int]] = []
        self.port = 0

    def put_toys(self, names: list[str]) -> None:
        """A page with a picture and its caption for each name, over two pages."""
        half = len(names) // 2
        figures = [f'<img src="{name}.png" alt="a toy named {name}">' for name in names]
        self.files["/toys/"] = ("<title>t</title>" + "".join(figures[:half]) + '<a href="two.html">2</a>').encode()
        self.files["/toys/two.html"] = "".join(figures[half:]).encode()
        for name in names:
            self.files.setdefault(f"/toys/{name}.png", toy(name))

    def requests(self) -> dict[str, int]:
        """The status of the last request for each path since the last call; robots.txt left out."""
        found = {path: status for path, status in self.log if path != "/robots.txt"}
        self.log.clear()
        return found

    def handler(self) -> Callable[..., BaseHTTPRequestHandler]:
        return partial(Handler, self)


def toy(name: str) -> bytes:
    """A picture that depends on a name."""
    return still(int(hashlib.sha256(name.encode()).hexdigest()[:2], 16))


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, site: WebSite, *arguments: Any) -> None:
        self.site = site
        super().__init__(*arguments)

    def do_GET(self) -> None:
        body = self.site.files.get(self.path, 404)
        status = body if isinstance(body, int) else 200
        content = b"" if isinstance(body, int) else body
        etag = f'"{hashlib.sha256(content).hexdigest()[:12]}"'
        shown = (
            self.headers.get("If-Modified-Since") == PAST
            if self.site.is_dated
            else etag == self.headers.get("If-None-Match")
        )
        status = 304 if status == 200 and shown else status
        self.site.log.append((self.path, status))
        self.send_response(status)
        if status in (200, 304):
            self.send_header(*(("Last-Modified", PAST) if self.site.is_dated else ("ETag", etag)))
            kind = "image/png" if self.path.endswith(".png") else "text/html; charset=utf-8"
            self.send_header("Content-Type", kind)
        for name, value in self.site.headers.get(self.path, {}).items():
            self.send_header(name, value)
        if status != 304:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if status == 200:
            self.wfile.write(content)

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@dataclass(frozen=True, kw_only=True, slots=True)
class WebGuard(Guard):
    """Every host is the test's server; keys of links do not depend on its port."""

    port: int = 0

    def target(self, url: URL) -> URL:
        return url.with_host(LOOPBACK).with_port(self.port)


def tasks_here(run: StageRun, tasks: Sequence[Task], work: Any, scratch: Path) -> list[dict[str, Any]]:
    """`run_tasks` without Beam, whose start takes longer than these crawls."""
    for task in tasks:
        if not result_path(scratch, task.name).exists():
            write_json(result_path(scratch, task.name), work(task.value, scratch))
    return [json.loads(result_path(scratch, task.name).read_bytes()) for task in tasks]


@contextmanager
def web_project(folder: Path, size: int = 4) -> Iterator[WebSite]:
    """The working directory becomes a project whose source `web` is a server that runs while the block does."""
    site = WebSite()
    with ThreadingHTTPServer(("127.0.0.1", 0), site.handler()) as server, pytest.MonkeyPatch.context() as patch:
        site.port = server.server_address[1]
        patch.setattr(crawl_settings, "Guard", partial(WebGuard, port=site.port))
        patch.setattr(crawl, "run_tasks", tasks_here)
        patch.chdir(folder)
        Path("params.yaml").write_text(PARAMS.format(home=HOME, size=size))
        threading.Thread(target=partial(server.serve_forever, poll_interval=0.02), daemon=True).start()
        yield site
        server.shutdown()
