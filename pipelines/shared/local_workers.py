"""Worker processes of Beam's local runner: one that ends before its work does is an error, and no wait without end.

`FnApiRunner` starts a process for each worker and sends it instructions. It looks at a process again only when it stops
all of them, so an instruction to one that the system has killed, as it does where memory is short, is never answered.
Here every such instruction is answered with an error.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
from apache_beam.portability.api import beam_fn_api_pb2
from apache_beam.runners.portability.fn_api_runner.worker_handlers import (
    ControlConnection,
    ControlFuture,
    SubprocessSdkWorkerHandler,
    WorkerHandler,
)
from apache_beam.runners.portability.local_job_service import SubprocessSdkWorker
from apache_beam.transforms.environments import SubprocessSDKEnvironment

from pipelines.shared.processes import PARENT

URN = "vignette:env:local_worker:v1"
ADVICE = (
    "a process that was killed (137 or -9) has most often lacked memory; fewer workers (--direct_num_workers), a "
    "smaller batch_size or more memory help. What is done is kept, the same command goes on from there"
)
deaths: list[str] = []  # of the workers of the present pipeline, as messages


class LocalWorkers(SubprocessSDKEnvironment):
    """The environment: a command that starts a worker."""

    def to_runner_api_parameter(self, context: Any) -> tuple[str, bytes]:
        """The name that the runner finds `LocalWorkerHandler` by, and the command."""
        return URN, self.command_string.encode()


class DeadConnection(ControlConnection):
    """Stands in for the connection to a process that has ended."""

    def __init__(self, error: ValueError) -> None:
        super().__init__()
        self.error = error

    def push(self, req: Any) -> Any:
        """The answer to an instruction: the error."""
        future = ControlFuture(req.instruction_id)
        fail(future, self.error)
        return future


@WorkerHandler.register_environment(URN, bytes)
class LocalWorkerHandler(SubprocessSdkWorkerHandler):
    """Starts and watches one process."""

    def start_worker(self) -> None:
        """Start the process, and a thread that waits for its end."""
        os.environ[PARENT] = str(os.getpid())  # Beam hands the environment on, and the thread waits for the process
        worker = SubprocessSdkWorker(
            self._worker_command_line, self.control_address, self.provision_info, self.worker_id
        )
        self.worker_thread = threading.Thread(name="run_worker", target=self.run, args=(worker,))
        self.worker_thread.start()

    def run(self, worker: SubprocessSdkWorker) -> None:
        """Until the process ends; if not well, everything that was asked of it fails, and all that will be."""
        try:
            worker.run()
        except RuntimeError as error:  # its message has the exit status
            connection, cause = self.control_conn, ValueError(f"{error}: {ADVICE}")
            deaths.append(str(cause))
            self.control_conn = DeadConnection(cause)
            for future in list(connection._futures_by_id.values()):
                fail(future, cause)

    def close(self) -> None:
        """End the process, if it has not ended by itself: then there is nobody to say goodbye to."""
        if isinstance(self.control_conn, DeadConnection):
            self.stop_worker()
        else:
            super().close()


@contextmanager
def quiet_channels() -> Iterator[None]:
    """A thread that ends because the channel to a worker broke prints no traceback: `deaths` says what broke it."""
    before = threading.excepthook

    def hook(arguments: threading.ExceptHookArgs) -> None:
        if not isinstance(arguments.exc_value, grpc.RpcError):
            before(arguments)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = before


def fail(future: ControlFuture, error: ValueError) -> None:
    """Make whoever waits for an answer get an exception.

    Beam's `abort` alone wakes those that wait for the answer, not those that wait for data and look now and then
    whether there is one.
    """
    future.abort(error)
    future.set(beam_fn_api_pb2.InstructionResponse(instruction_id=future.instruction_id, error=str(error)))
