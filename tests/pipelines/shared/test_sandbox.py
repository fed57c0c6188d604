"""The child process: what it may do, and that its end is the end of one call only."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.shared import sandbox as module
from pipelines.shared.reasons import LinkError
from pipelines.shared.sandbox import LENGTHS, Sandbox

TASK = """
import ctypes, os, sys, time
from pipelines.shared.reasons import LinkError

def answer(settings, body):
    do = settings["do"]
    if do == "echo":
        return {"size": len(body)}, body[::-1]
    if do == "segfault":
        ctypes.string_at(0)
    if do == "abort":
        os.abort()
    if do == "hang":
        while True:
            pass
    if do == "eat":
        return {"size": len(bytearray(900 << 20))}, b""
    if do == "write":
        with open(settings["path"], "wb") as handle:
            handle.write(b"x")
    if do == "noise":
        os.write(1, b"noise"); os.write(2, b"noise"); print("noise"); sys.stderr.write("noise")
        return {}, b""
    if do == "refuse":
        raise LinkError("decode_error", "no")
    if do == "busy":
        until = time.process_time() + 1.1
        while time.process_time() < until:
            pass
    if do in ("busy", "limit"):
        import resource
        return {"limit": resource.getrlimit(resource.RLIMIT_CPU)[0], "used": time.process_time()}, b""
    if do == "out-of-time":
        os.kill(os.getpid(), 24)
    if do == "sockets":
        import socket
        outcomes = []
        for family, address in (
            (socket.AF_INET, ("127.0.0.1", settings["port"])),
            (socket.AF_INET, ("192.0.2.1", 80)),
            (socket.AF_INET6, ("::1", settings["port"])),
        ):
            try:
                socket.socket(family).connect(address)
                outcomes.append("connected")
            except OSError as error:
                outcomes.append(type(error).__name__)
        return {"outcomes": outcomes}, b""
    if do == "bug":
        raise KeyError("ours")
    return {"pid": os.getpid()}, b""
"""


@pytest.fixture
def sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A sandbox whose child finds the module above."""
    (tmp_path / "hostile_task.py").write_text(TASK)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    with Sandbox(timeout_sec=1.0, memory_mib=600) as made:
        yield made


def do(sandbox: Sandbox, what: str, body: bytes = b"", **settings: str | int) -> tuple[dict, bytes]:
    return sandbox.call("hostile_task", {"do": what, **settings}, body)


def pid(sandbox: Sandbox) -> int:
    return do(sandbox, "")[0]["pid"]


@pytest.mark.parametrize("size", [0, 1, 65_536, 5_000_003])
def test_bytes_go_and_come_back(sandbox: Sandbox, size: int) -> None:
    body = os.urandom(size)
    assert do(sandbox, "echo", body) == ({"size": size}, body[::-1])


def test_one_child_serves_many_calls(sandbox: Sandbox) -> None:
    assert pid(sandbox) == pid(sandbox) != os.getpid()


@pytest.mark.parametrize(
    ("what", "reason"), [("segfault", "decode_crash"), ("abort", "decode_crash"), ("hang", "decode_timeout")]
)
def test_its_end_is_the_end_of_one_call(sandbox: Sandbox, what: str, reason: str) -> None:
    first = pid(sandbox)
    started = time.monotonic()
    with pytest.raises(LinkError, match=reason):
        do(sandbox, what)
    assert time.monotonic() - started < 3.0
    assert pid(sandbox) != first, "the next call has a new child"


def test_errors_of_the_task(sandbox: Sandbox) -> None:
    with pytest.raises(LinkError, match="decode_error: no"):
        do(sandbox, "refuse")
    with pytest.raises(AssertionError, match="KeyError: 'ours'"):
        do(sandbox, "bug")


def test_memory_and_files_are_limited(sandbox: Sandbox, tmp_path: Path) -> None:
    with pytest.raises(LinkError, match=r"decode_crash: .* out of memory"):
        do(sandbox, "eat")
    with pytest.raises(AssertionError, match="File too large"):
        do(sandbox, "write", path=str(tmp_path / "out"))
    assert not (tmp_path / "out").exists() or (tmp_path / "out").stat().st_size == 0


def test_noise_goes_nowhere(sandbox: Sandbox, capfd: pytest.CaptureFixture) -> None:
    assert do(sandbox, "noise") == ({}, b"")
    assert do(sandbox, "echo", b"ab")[1] == b"ba"
    assert capfd.readouterr() == ("", "")


def test_child_goes_with_its_sandbox(tmp_path: Path, sandbox: Sandbox) -> None:
    child = pid(sandbox)
    sandbox.__exit__(None, None, None)
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


@pytest.mark.parametrize("may_unshare", [True, False])
def test_no_network(sandbox: Sandbox, may_unshare: bool, tmp_path: Path) -> None:
    """Not even to a server of this machine; also where the child may make no namespace."""
    if not may_unshare:
        (tmp_path / "sitecustomize.py").write_text(
            "import ctypes\nctypes.CDLL = type('NoUnshare', (ctypes.CDLL,), {'unshare': lambda self, _: -1})\n"
        )
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        found = do(sandbox, "sockets", port=server.getsockname()[1])[0]["outcomes"]
        assert "connected" not in found and len(found) == 3
        with pytest.raises(TimeoutError):
            server.accept()
    assert sandbox.network == "hook" if not may_unshare else sandbox.network in ("namespace", "hook")
    assert (sandbox.network == "hook") == (found[0] == "PermissionError")


def test_a_child_that_nobody_waits_for_ends_by_itself(sandbox: Sandbox) -> None:
    """As when its parent is stopped or stuck: its processor time is limited for each call."""
    command = [sys.executable, "-m", module.__name__, "600", "1"]
    request = json.dumps({"module": "hostile_task", "settings": {"do": "hang"}}).encode()
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert child.stdin is not None
    child.stdin.write(LENGTHS.pack(len(request), 0) + request)
    child.stdin.flush()
    assert child.wait(timeout=60) == -signal.SIGXCPU


def test_processor_time_is_renewed_for_each_call(sandbox: Sandbox) -> None:
    sandbox.timeout_sec = 30.0
    first, second = do(sandbox, "busy")[0], do(sandbox, "limit")[0]
    assert first["limit"] < second["limit"] <= second["used"] + 33


def test_too_much_processor_time_is_too_long(sandbox: Sandbox) -> None:
    with pytest.raises(LinkError, match="decode_timeout"):
        do(sandbox, "out-of-time")
