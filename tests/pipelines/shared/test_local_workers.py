"""Worker processes that end before their work does; in processes of their own, because a fault would wait for ever."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = """
import os, signal, sys, time
from pathlib import Path
from pipelines.shared import jobs
from pipelines.shared.stage import StageRun, setup_logging

def work(value, scratch):
    time.sleep(0.1)
    if value == 3 and not (scratch / "mended").exists():
        os.kill(os.getpid(), signal.SIGKILL)
    return {"value": value, "process": os.getpid()}

if __name__ == "__main__":
    import script
    setup_logging()
    jobs.WORKER_MODULE = sys.argv[1]
    run = StageRun(stage="t", key="k", params={}, beam_options=("--direct_num_workers=2",))
    tasks = [jobs.Task(str(index), index) for index in range(6)]
    try:
        results = jobs.run_tasks(run, tasks, script.work, Path("."))
    except ValueError as error:
        sys.exit(f"error: {error}")
    print([result["value"] for result in results], os.getpid() in {result["process"] for result in results})
"""


BUSY = """
import os, sys, time
from pathlib import Path
from pipelines.shared import jobs, stage
from pipelines.shared.sandbox import process_sandbox

def answer(settings, body):
    time.sleep(60)

def work(value, scratch):
    Path(f"working-{value}").touch()
    process_sandbox(60.0, 2048).call("script", {}, b"")

def run(stage_run):
    import script
    jobs.run_tasks(stage_run, [jobs.Task(str(index), index) for index in range(2)], script.work, Path("."))

if __name__ == "__main__":
    stage.main("busy", run, "Has two workers, and each of them a sandbox, that are busy for a minute.")
"""


def finish(folder: Path, module: str = "pipelines.shared.worker") -> subprocess.CompletedProcess[str]:
    (folder / "script.py").write_text(SCRIPT)
    return subprocess.run(
        [sys.executable, "script.py", module],
        cwd=folder,
        env={"PYTHONPATH": f"{ROOT}:{folder}", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_worker_that_is_killed_ends_the_job_and_no_work_is_lost(tmp_path: Path) -> None:
    done = finish(tmp_path)
    assert done.returncode == 1
    last, others = done.stderr.splitlines()[-1], done.stderr.splitlines()[:-1]
    assert last.startswith("error: Worker subprocess exited with return code ") and "lacked memory" in last
    assert not [line for line in others if line and "%|" not in line], "and no noise"
    kept = {path.stem: path.stat().st_mtime_ns for path in tmp_path.glob("?.json")}
    assert kept and "3" not in kept
    (tmp_path / "mended").touch()
    again = finish(tmp_path)
    assert again.stdout.splitlines()[-1] == "[0, 1, 2, 3, 4, 5] False", again.stderr
    assert {name: (tmp_path / f"{name}.json").stat().st_mtime_ns for name in kept} == kept


def test_a_worker_that_does_not_start_ends_the_job(tmp_path: Path) -> None:
    done = finish(tmp_path, "pipelines.shared.no_such_module")
    assert "No module named pipelines.shared.no_such_module" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: Worker subprocess exited with return code 1")


def group(leader: int) -> dict[int, str]:
    """Processes of a group that are alive, with their command lines."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            state, _, of = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
            if int(of) == leader and state != "Z":
                found[int(entry.name)] = (entry / "cmdline").read_text().replace("\0", " ")
        except OSError:
            continue
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone ends children with their parent")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_signal_to_the_stage_alone_ends_all_its_processes(tmp_path: Path, number: int) -> None:
    (tmp_path / "script.py").write_text(BUSY)
    (tmp_path / "params.yaml").write_text("seed: 0\n")
    process = subprocess.Popen(
        [sys.executable, "script.py", "x", "--direct_num_workers=2"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{tmp_path}"},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 90
    while sum("pipelines.shared.sandbox" in words for words in group(process.pid).values()) < 2:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    time.sleep(0.5)
    process.send_signal(number)
    _, said = process.communicate(timeout=45)
    deadline = time.monotonic() + 30
    while group(process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not group(process.pid), "processes outlived the stage"
    if number == signal.SIGKILL:
        assert process.returncode == -number
        return
    assert process.returncode == 1
    lines = [line for line in said.splitlines() if line and "%|" not in line]
    assert lines == ["vignette busy x: interrupted; the same command goes on from here"]
