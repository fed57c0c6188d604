"""A headless Chromium driven over its debugging pipe: no driver, no port, nothing to download.

Protocol: https://chromedevtools.github.io/devtools-protocol/; messages are JSON that ends in a zero byte, on the
browser's file descriptors 3 (to it) and 4 (from it).
"""

import fcntl
import json
import os
import select
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROGRAMS = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
PATIENCE_SEC = 60.0
KEYS = {"Tab": 9, "Enter": 13, "Escape": 27}


def find() -> str | None:
    """Path of the first Chromium that there is."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


class Browser:
    """One tab of a running browser."""

    def __init__(self, to_it: int, from_it: int) -> None:
        self.to_it, self.from_it = to_it, from_it
        self.number = 0
        self.received = b""
        self.events: list[dict[str, Any]] = []
        self.session = ""
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **parameters: Any) -> Any:
        """Sends a command and returns its result."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.to_it, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.receive()
            if answer.get("id") == self.number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            self.events.append(answer)

    def receive(self) -> dict[str, Any]:
        """The next message of the browser."""
        until = time.monotonic() + PATIENCE_SEC
        while b"\0" not in self.received:
            assert select.select([self.from_it], [], [], max(0.0, until - time.monotonic()))[0], "the browser is silent"
            part = os.read(self.from_it, 1 << 20)
            assert part, "the browser has ended"
            self.received += part
        message, _, self.received = self.received.partition(b"\0")
        return dict(json.loads(message))

    def open(self, path: Path, width: int = 1280, height: int = 900) -> None:
        """Shows a file in a window of this size and waits until it is loaded."""
        self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        self.events.clear()
        self.send("Page.navigate", url=path.resolve().as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self.receive())

    def run(self, expression: str) -> Any:
        """Value of a JavaScript expression on the page."""
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def press(self, key: str) -> None:
        """A key on the keyboard: one of `KEYS`, or a character."""
        named = {"key": key, "code": key, "windowsVirtualKeyCode": KEYS[key]} if key in KEYS else {"key": key}
        text = {"Enter": "\r"}.get(key, "" if key in KEYS else key)
        self.send("Input.dispatchKeyEvent", type="keyDown", text=text, **named)
        self.send("Input.dispatchKeyEvent", type="keyUp", **named)

    def complaints(self) -> list[str]:
        """Errors that the page has logged since it was opened, and what it fetched beside itself."""
        self.run("0")  # what it has sent so far comes before the answer
        logged = [
            str(event["params"]["entry"]["text"]) for event in self.events if event.get("method") == "Log.entryAdded"
        ]
        thrown = [str(event["params"]) for event in self.events if event.get("method") == "Runtime.exceptionThrown"]
        requests = [event["params"] for event in self.events if event.get("method") == "Network.requestWillBeSent"]
        fetched = [each["request"]["url"] for each in requests if each["type"] != "Document"]
        return logged + thrown + [url for url in fetched if not url.startswith("data:")]


@contextmanager
def chromium(profile: Path, *flags: str) -> Iterator[Browser]:
    """A browser with a profile of its own, ended with the block."""
    program = find()
    assert program, "no Chromium"
    (child_reads, we_write), (we_read, child_writes) = map(_high, (os.pipe(), os.pipe()))
    process = os.posix_spawn(
        program,
        [program, *FLAGS, f"--user-data-dir={profile}", *flags],
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
            (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
            (os.POSIX_SPAWN_DUP2, child_reads, 3),
            (os.POSIX_SPAWN_DUP2, child_writes, 4),
        ],
    )
    os.close(child_reads)
    os.close(child_writes)
    try:
        yield Browser(we_write, we_read)
    finally:
        os.kill(process, signal.SIGTERM)
        os.waitpid(process, 0)
        os.close(we_write)
        os.close(we_read)


def _high(ends: tuple[int, int]) -> tuple[int, int]:
    """The same pipe with descriptors that are not 3 or 4, which the child's ends take."""
    moved = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends]
    for end in ends:
        os.close(end)
    return moved[0], moved[1]
