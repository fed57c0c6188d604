"""A child process for what strangers' bytes are put through: decoders and the HTML parser.

A decoder that crashes, hangs or takes too much memory takes only its own picture with it: the child dies, the link gets
`decode_crash` or `decode_timeout`, and a new child starts for the next one. The child has a limit on memory and one on
processor time, renewed for each call, so that it ends by itself should nobody wait for it; it may write no files, sees
none of our sockets, and its noise on standard error is dropped.

No network: on Linux the child goes into a network namespace of its own, which is empty, as root or as a user who may
make namespaces. Where neither is allowed (some containers and distributions), and on other systems, an audit hook
refuses sockets to Python code, which does not bind a library that has been taken over. `network` says which of the two
holds. Nowhere is the child kept from reading files that this user may read, and it could raise its own soft limits.

Requests and answers are a JSON header and a body of bytes, each behind its length.
"""

import ctypes
import functools
import importlib
import json
import math
import os
import resource
import select
import signal
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
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
Message = tuple[dict[str, Any], bytes]


class Sandbox:
    """The parent's side; any thread may call, one call runs at a time.

    Attributes:
        network: `namespace` or `hook`, see the module; empty before the first child has started.
    """

    def __init__(self, timeout_sec: float = 60.0, memory_mib: int = 2048) -> None:
        """`timeout_sec` is the most that one call may take, `memory_mib` the child's address space."""
        self.network = ""
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
                if self._end() == -signal.SIGXCPU:
                    raise LinkError("decode_timeout", f"not decoded after {self.timeout_sec:g} s") from error
                raise LinkError("decode_crash", "the decoder's process died") from error
        if "bug" in answer:
            raise AssertionError(f"in the sandbox: {answer['bug']}")
        if "reason" in answer:
            raise LinkError(answer["reason"], answer["message"])
        return answer, content

    def _start(self) -> subprocess.Popen[bytes]:
        cpu_sec = str(math.ceil(self.timeout_sec) + 1)
        command = [sys.executable, "-B", "-m", "pipelines.shared.sandbox", str(self.memory_mib), cpu_sec]
        self._child = spawn(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
        )
        assert self._child.stdout is not None, "it is a pipe"
        self.network = _read(self._child.stdout)[0]["network"]
        return self._child

    def _end(self) -> int | None:
        """The child's exit status, if there was a child."""
        if self._child is None:
            return None
        child, self._child = self._child, None
        child.kill()
        child.communicate()
        return child.returncode

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


def serve(memory_mib: int, cpu_sec: int) -> None:
    """The child's side: answer requests until the parent closes the pipe; `cpu_sec` is the processor time of each."""
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
    _write(answers, {"network": _without_network()}, b"")
    while True:
        try:
            request, body = _read(requests)
        except EOFError:
            return
        used = resource.getrusage(resource.RUSAGE_SELF)
        most_sec = math.ceil(used.ru_utime + used.ru_stime) + cpu_sec
        resource.setrlimit(resource.RLIMIT_CPU, (most_sec, resource.getrlimit(resource.RLIMIT_CPU)[1]))
        _write(answers, *_answer(request, body))


def _without_network() -> str:
    """Take the network from this process; how far that goes."""
    if sys.platform == "linux":
        unshare = ctypes.CDLL(None, use_errno=True).unshare
        if unshare(CLONE_NEWNET) == 0 or unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0:
            return "namespace"
    sys.addaudithook(_refuse_sockets)
    return "hook"


def _refuse_sockets(event: str, _: tuple[Any, ...]) -> None:
    if event.startswith("socket."):
        raise PermissionError("no network in the sandbox")


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
    serve(int(sys.argv[1]), int(sys.argv[2]))
