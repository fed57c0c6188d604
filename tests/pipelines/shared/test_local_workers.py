"""Worker processes that end before their work does; in processes of their own, because a fault would wait for ever."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = """
import os, signal, sys, time
from pathlib import Path
from pipelines.shared import jobs
from pipelines.shared.stage import StageRun

def work(value, scratch):
    time.sleep(0.1)
    if value == 3 and not (scratch / "mended").exists():
        os.kill(os.getpid(), signal.SIGKILL)
    return {"value": value, "process": os.getpid()}

if __name__ == "__main__":
    import script
    jobs.WORKER_MODULE = sys.argv[1]
    run = StageRun(stage="t", key="k", params={}, beam_options=("--direct_num_workers=2",))
    tasks = [jobs.Task(str(index), index) for index in range(6)]
    try:
        results = jobs.run_tasks(run, tasks, script.work, Path("."))
    except ValueError as error:
        sys.exit(f"error: {error}")
    print([result["value"] for result in results], os.getpid() in {result["process"] for result in results})
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
    # the last line, or in the log above gRPC's error where Beam hears of the broken channel first
    assert "Worker subprocess exited with return code " in done.stderr
    assert "Error closing worker_handler" not in done.stderr
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
