"""What starts and ends a Spark cluster, tried without Spark; see tests/spark for the cluster itself."""

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import zipfile
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc
import pytest
from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc, endpoints_pb2

from tests.pipelines.small_job import ROOT

FOLDER = ROOT / "deploy/spark"
STUBBORN = "trap '' TERM; sleep 600 & echo $! > {name}; while true; do sleep 1; done"
HOLDER = """
import os, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from cluster import Processes
processes = Processes(Path.cwd())
processes.start("held", ["sleep", "600"], os.environ)
print(processes.pids["held"], flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def cluster() -> ModuleType:
    spec = importlib.util.spec_from_file_location("spark_cluster", FOLDER / "cluster.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def children(thread: Path) -> list[str]:
    return (thread / "children").read_text().split()


def until(condition: Any) -> None:
    limit = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.02)


def test_stop_ends_children_of_children_and_those_that_ignore_it(
    cluster: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "STOP_SEC", 0.5)
    processes = cluster.Processes(tmp_path)
    processes.start("stubborn", ["sh", "-c", STUBBORN.format(name="child")], os.environ)
    processes.start("gone", ["sh", "-c", "sleep 600 & echo $! > orphan"], os.environ)
    until(lambda: all((tmp_path / name).exists() and (tmp_path / name).read_text() for name in ("child", "orphan")))
    pids = [*processes.pids.values(), *(int((tmp_path / name).read_text()) for name in ("child", "orphan"))]
    processes.stop()
    until(lambda: not any(map(is_alive, pids)))


@pytest.mark.skipif(sys.platform != "linux", reason="a signal at the death of a parent is Linux's")
def test_programs_end_with_a_starter_that_was_killed(tmp_path: Path) -> None:
    words = [sys.executable, "-c", HOLDER, str(FOLDER)]
    with subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        held = int(holder.stdout.readline())
        assert is_alive(held)
        holder.kill()
    until(lambda: not is_alive(held))


def test_a_pool_stops_no_worker_by_its_name(cluster: ModuleType, tmp_path: Path) -> None:
    """Two executors may have given the same one."""
    port, processes = cluster.free_port(), cluster.Processes(tmp_path)
    python = {**os.environ, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    with socket.create_server((cluster.HOST, 0)) as silent:  # it takes the workers' calls and answers none
        nobody = endpoints_pb2.ApiServiceDescriptor(url=f"{cluster.HOST}:{silent.getsockname()[1]}")
        try:
            processes.start("pool", [sys.executable, "-c", cluster.POOL, f"--service_port={port}"], python)
            processes.wait_for("pool", port)
            with grpc.insecure_channel(f"{cluster.HOST}:{port}") as channel:
                pool = beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolStub(channel)
                for _ in range(2):
                    pool.StartWorker(beam_fn_api_pb2.StartWorkerRequest(worker_id="1", control_endpoint=nobody))
                pool.StopWorker(beam_fn_api_pb2.StopWorkerRequest(worker_id="1"))
            path = Path(f"/proc/{processes.pids['pool']}/task")
            workers = [int(word) for each in path.iterdir() for word in children(each)]
            assert len(workers) == 2 and all(map(is_alive, workers))
        finally:
            processes.stop()


def test_a_pool_takes_its_workers_along(cluster: ModuleType, tmp_path: Path) -> None:
    """Also when nobody ends the whole group, as when the cluster's own process was killed."""
    port, processes = cluster.free_port(), cluster.Processes(tmp_path)
    python = {**os.environ, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    try:
        processes.start("pool", [sys.executable, "-c", cluster.POOL, f"--service_port={port}"], python)
        processes.wait_for("pool", port)
        pool = processes.pids["pool"]
        with grpc.insecure_channel(f"{cluster.HOST}:{port}") as channel:
            nobody = endpoints_pb2.ApiServiceDescriptor(url=f"{cluster.HOST}:{cluster.free_port()}")
            request = beam_fn_api_pb2.StartWorkerRequest(worker_id="1", control_endpoint=nobody)
            beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolStub(channel).StartWorker(request)
        (worker,) = [int(word) for path in Path(f"/proc/{pool}/task").iterdir() for word in children(path)]
        os.kill(pool, signal.SIGTERM)
        until(lambda: not is_alive(pool) and not is_alive(worker))
    finally:
        processes.stop()


def test_what_does_not_come_up_says_why(cluster: ModuleType, tmp_path: Path) -> None:
    processes = cluster.Processes(tmp_path)
    processes.start("server", ["sh", "-c", "echo no such thing >&2; exit 3"], os.environ)
    with pytest.raises(SystemExit, match=r"server does not listen on port \d+; .*server.log:\nno such thing"):
        processes.wait_for("server", cluster.free_port())
    assert processes.run([sys.executable, "-c", "raise SystemExit(5)"]) == 5


def test_a_failed_start_ends_what_had_started(
    cluster: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every program of this Spark ends at once, and so does everything else."""
    spark_class = tmp_path / "spark/bin/spark-class"
    spark_class.parent.mkdir(parents=True)
    spark_class.write_text("#!/bin/sh\necho broken >&2\nexit 1\n")
    spark_class.chmod(0o755)
    (tmp_path / "java").write_text("#!/bin/sh\nexec sleep 600\n")
    (tmp_path / "java").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    made = cluster.Cluster(tmp_path, tmp_path / "jars", tmp_path / "spark", tmp_path / "logs")
    with pytest.raises(SystemExit, match="master does not listen on port"), made:
        raise AssertionError("it cannot come up")
    assert set(made.processes.pids) == {"master", "pool", "job-server"}
    assert not any(map(is_alive, made.processes.pids.values()))


@pytest.mark.parametrize(
    ("there", "said"), [([], "Java is missing: apt-get install"), (["java"], "Maven is missing: apt-get install")]
)
def test_make_says_what_to_install(there: list[str], said: str, tmp_path: Path) -> None:
    make = shutil.which("make")
    assert make is not None
    (tmp_path / "sh").symlink_to("/bin/sh")
    for name in there:
        (tmp_path / name).symlink_to("/bin/true")
    words = [make, "-f", str(ROOT / "Makefile"), "test-spark"]
    done = subprocess.run(words, cwd=tmp_path, env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False)
    assert done.returncode != 0 and said in done.stdout, done
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["sh", *there]), "nothing was installed"


def test_the_command_says_what_to_install(cluster: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match="java is missing: apt-get install openjdk-17-jre-headless"):
        cluster.job_server_jars(tmp_path / "home")
    (tmp_path / "java").write_text("#!/bin/sh\n")
    (tmp_path / "java").chmod(0o755)
    with pytest.raises(SystemExit, match="mvn is missing: apt-get install maven"):
        cluster.job_server_jars(tmp_path / "home")
    monkeypatch.setattr(cluster.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match="pyspark is missing: pip install"):
        cluster.spark_home()


def test_jars_come_whole_or_not_at_all(
    cluster: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    """With a Maven that fails after the first jar, then with one that does not; a third call asks none."""
    home, tools = tmp_path / "home", tmp_path / "tools"
    tools.mkdir()
    script = "#!/bin/sh\necho colours\nfor word; do case $word in -DoutputDirectory=*) out=${word#*=};; esac; done\n"
    script += 'mkdir -p "$out" && touch "$out/a.jar" && exit '
    for name, text in {"java": "#!/bin/sh\n", "mvn": f"{script}1\n"}.items():
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(SystemExit, match="could not be fetched"):
        cluster.job_server_jars(home)
    assert list(home.iterdir()) == []
    (tools / "mvn").write_text(f"{script}0\n")
    jars = cluster.job_server_jars(home)
    assert [path.name for path in jars.iterdir()] == ["a.jar"] and list(home.iterdir()) == [jars]
    (tools / "mvn").write_text("#!/bin/sh\nexit 1\n")
    assert cluster.job_server_jars(home) == jars
    assert capfd.readouterr() == ("", "colours\n" * 2), "standard output is the command's own"


def test_the_jar_that_jobs_stage_is_an_empty_archive(cluster: ModuleType) -> None:
    assert zipfile.ZipFile(BytesIO(cluster.EMPTY_ZIP)).namelist() == []
