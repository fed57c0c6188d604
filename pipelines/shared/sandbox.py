"""A child process for what strangers' bytes are put through: decoders and the HTML parser.

A decoder that crashes, hangs or takes too much memory takes only its own picture with it: the child dies, the link gets
`decode_crash` or `decode_timeout`, and a new child starts for the next one. The child has a limit on memory, may write
no files, sees none of our sockets, and its noise on standard error is dropped. It is not kept from the network or from
reading files: that takes privileges that a crawl should not have.

Requests and answers are a JSON header and a body of bytes, each behind its length.
"""

import functools
import importlib
import json
import os
import resource
import select
import struct
import subprocess
import sys
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import IO, Any, Self

from pipelines.shared.processes import end_with_parent, spawn
from pipelines.shared.reasons import LinkError

LENGTHS = struct.Struct(">II")
Message = tuple[dict[str, Any], bytes]


class Sandbox:
    """The parent's side; any thread may call, one call runs at a time."""

    def __init__(self, timeout_sec: float = 60.0, memory_mib: int = 2048) -> None:
        """`timeout_sec` is the most that one call may take, `memory_mib` the child's address space."""
        self.timeout_sec = timeout_sec
        self.memory_mib = memory_mib
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._end()

    def call(self, module: str, settings: Mapping[str, Any], body: bytes) -> Message:
        """Let the child do a task.

        Args:
            module: Name of a module of ours; the child calls its function `answer` with the settings and the body.
            settings: JSON values for it.
            body: The untrusted bytes.

        Raises:
            LinkError: What `answer` raised, or `decode_crash` or `decode_timeout`.
        """
        with self._lock:
            try:
                child = self._child or self._start()
                answer, content = self._exchange(child, {"module": module, "settings": settings}, body)
            except TimeoutError as error:
                self._end()
                raise LinkError("decode_timeout", f"not decoded after {self.timeout_sec:g} s") from error
            except (OSError, EOFError) as error:
                self._end()
                raise LinkError("decode_crash", "the decoder's process died") from error
        if "bug" in answer:
            raise AssertionError(f"in the sandbox: {answer['bug']}")
        if "reason" in answer:
            raise LinkError(answer["reason"], answer["message"])
        return answer, content

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-B", "-m", "pipelines.shared.sandbox", str(self.memory_mib)]
        self._child = spawn(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
        )
        assert self._child.stdout is not None, "it is a pipe"
        _read(self._child.stdout)
        return self._child

    def _end(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.communicate()
            self._child = None

    def _exchange(self, child: "subprocess.Popen[bytes]", header: dict[str, Any], body: bytes) -> Message:
        assert child.stdin is not None and child.stdout is not None, "both are pipes"
        _write(child.stdin, header, body)
        if not select.select([child.stdout], [], [], self.timeout_sec)[0]:
            raise TimeoutError
        return _read(child.stdout)


@functools.cache
def process_sandbox(timeout_sec: float, memory_mib: int) -> Sandbox:
    """One sandbox for all shards that this process works on; its child ends with this process."""
    return Sandbox(timeout_sec, memory_mib)


def serve(memory_mib: int) -> None:
    """The child's side: answer requests until the parent closes the pipe."""
    end_with_parent()
    requests, answers = os.fdopen(os.dup(0), "rb", buffering=0), os.fdopen(os.dup(1), "wb", buffering=0)
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)
    for kind, most in (
        (resource.RLIMIT_AS, memory_mib << 20),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 64),
    ):
        resource.setrlimit(kind, (most, most))
    _write(answers, {"ready": True}, b"")
    while True:
        try:
            request, body = _read(requests)
        except EOFError:
            return
        _write(answers, *_answer(request, body))


def _answer(request: dict[str, Any], body: bytes) -> Message:
    try:
        answer = importlib.import_module(request["module"]).answer
        return answer(request["settings"], body)
    except LinkError as error:
        return {"reason": error.reason, "message": error.message}, b""
    except MemoryError:
        return {"reason": "decode_crash", "message": "the decoder's process ran out of memory"}, b""
    except Exception as error:
        return {"bug": f"{type(error).__name__}: {error}"}, b""


def _write(pipe: IO[bytes], header: Mapping[str, Any], body: bytes) -> None:
    text = json.dumps(header).encode()
    waiting = memoryview(LENGTHS.pack(len(text), len(body)) + text + body)
    while waiting:
        waiting = waiting[pipe.write(waiting) :]


def _read(pipe: IO[bytes]) -> Message:
    num_header, num_body = LENGTHS.unpack(_read_exactly(pipe, LENGTHS.size))
    return json.loads(_read_exactly(pipe, num_header)), _read_exactly(pipe, num_body)


def _read_exactly(pipe: IO[bytes], count: int) -> bytes:
    parts = []
    while count:
        part = pipe.read(count)
        if not part:
            raise EOFError
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
