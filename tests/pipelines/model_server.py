"""A small model server on this machine, for tests: what it answers is a function of the request."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

KEY = "sk-a-secret-key-of-tests"
Script = Callable[[dict[str, Any], int], tuple[int, dict[str, str], bytes]]


def completion(text: Any, **choice: Any) -> bytes:
    return json.dumps({"choices": [{"message": {"role": "assistant", "content": text}, **choice}]}).encode()


def said(text: Any) -> tuple[int, dict[str, str], bytes]:
    return 200, {}, completion(text)


@dataclass
class Fake:
    """A server whose answers a function of the request and of how often it came decides.

    Attributes:
        script: Gives status, headers and body.
        asked: Bodies in the order of their arrival.
        headers: Their headers.
        times: When they came.
        most_at_once: Most requests that were open together.
        delay_sec: How long each answer takes.
    """

    script: Script
    delay_sec: float = 0.0
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    most_at_once: int = 0
    open_now: int = 0
    url: str = ""


@pytest.fixture
def serve() -> Iterator[Callable[..., Fake]]:
    servers = []

    def start(script: Script, delay_sec: float = 0.0) -> Fake:
        fake, lock = Fake(script, delay_sec), threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with lock:
                    count = sum(each == body for each in fake.asked)
                    fake.asked.append(body)
                    fake.headers.append(dict(self.headers))
                    fake.times.append(time.monotonic())
                    fake.open_now += 1
                    fake.most_at_once = max(fake.most_at_once, fake.open_now)
                time.sleep(fake.delay_sec)
                status, headers, content = (
                    fake.script(body, count) if self.path == "/v1/chat/completions" else (404, {}, b"")
                )
                with lock:
                    fake.open_now -= 1
                if status == 0:  # hang up
                    self.close_connection = True
                    return
                self.send_response(status)
                for name, value in {"Content-Length": str(len(content)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *arguments: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        fake.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
        return fake

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()
