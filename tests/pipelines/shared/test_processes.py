"""Children end with their parent, and not with the thread that asked for them."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pipelines.shared.processes import PARENT, spawn

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux alone ends children with their parent")
ROOT = Path(__file__).resolve().parents[3]
CHILD = """
import sys, time
from pipelines.shared.processes import end_with_parent
end_with_parent()
print("ready", flush=True)
time.sleep(60)
"""
PARENT_PROGRAM = f"""
import subprocess, sys
from pipelines.shared.processes import spawn
child = spawn([sys.executable, "-c", {CHILD!r}], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
child.wait()
"""
SURROUNDINGS = {**os.environ, "PYTHONPATH": str(ROOT)}


def is_running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def ends(process: int, within_sec: float = 5.0) -> bool:
    deadline = time.monotonic() + within_sec
    while is_running(process) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not is_running(process)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_child_ends_with_its_parent(number: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT_PROGRAM], env=SURROUNDINGS, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert is_running(child)
        parent.send_signal(number)
    assert ends(child), "it outlived its parent"


def test_a_child_outlives_the_thread_that_asked_for_it_and_leaves_signals_to_its_parent() -> None:
    started = []
    thread = threading.Thread(
        target=lambda: started.append(spawn([sys.executable, "-c", CHILD], env=SURROUNDINGS, stdout=subprocess.PIPE))
    )
    thread.start()
    thread.join()
    child = started[0]
    assert child.stdout is not None and child.stdout.readline() == b"ready\n"
    child.send_signal(signal.SIGINT)
    child.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    assert child.poll() is None
    child.kill()
    child.communicate()


def test_a_child_whose_parent_is_gone_before_it_asks_ends_itself() -> None:
    surroundings = {**SURROUNDINGS, PARENT: "1" if os.getpid() != 1 else "2"}
    done = subprocess.run([sys.executable, "-c", CHILD], env=surroundings, capture_output=True, timeout=30)
    assert (done.returncode, done.stdout) == (1, b"")
