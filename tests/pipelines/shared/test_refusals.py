"""One line for everything that ends a command."""

import errno
import os
import pickle
from pathlib import Path

import apache_beam as beam
import pytest

from pipelines.shared.refusals import RefusedError, count, counted, line_of, marked


def system(number: int, *names: object) -> OSError:
    return OSError(number, os.strerror(number), *names)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("seed must\n not be 1"), "seed must not be 1"),
        (
            system(errno.ENOSPC, "data/x.tar"),
            "data/x.tar: No space left on device: make room there, the same command goes on from here",
        ),
        (
            OSError(errno.ENOSPC, "Error writing bytes to file. Detail: [errno 28] No space left on device", "x"),
            "x: No space left on device: make room there, the same command goes on from here",
        ),
        (
            system(errno.EACCES, Path("data")),
            "data: Permission denied: give this user the right to it, the same command goes on from here",
        ),
        (system(errno.ENOENT, "a", None, b"b"), "a -> b: No such file or directory"),
        (system(errno.ECONNREFUSED), "Connection refused"),
        (OSError("in words alone"), "in words alone"),
    ],
)
def test_line(error: BaseException, line: str) -> None:
    assert line_of(error) == line


@pytest.mark.parametrize("message", ["data/x.tar: größer <b> 'so' \"it is\"", "a" * 2000])
def test_a_message_is_found_in_whatever_a_runner_makes_of_it(message: str) -> None:
    error = RefusedError(message)
    assert message in str(error) and marked(str(error)) == message
    assert marked(repr({"error": f"Traceback ...\n{error!r} [while running 'DoTasks']"})) == message
    assert marked(str(pickle.loads(pickle.dumps(error)))) == message
    assert marked("RuntimeError: something else") is None


def test_counted_messages_come_out_of_a_pipeline_once_and_sorted() -> None:
    def do(value: int) -> int:
        beam.metrics.Metrics.counter("another", "b").inc()
        if value:
            count(f"data/{value % 2}.tar: No space left on device")
        return value

    pipeline = beam.Pipeline(runner="FnApiRunner")
    _ = pipeline | beam.Create(range(6)) | beam.Map(do)
    assert counted(pipeline.run()) == [f"data/{number}.tar: No space left on device" for number in (0, 1)]
