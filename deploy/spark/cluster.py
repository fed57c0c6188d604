"""A Spark cluster on this machine, to try the data stages on: `python deploy/spark/cluster.py -- vignette crawl emoji`.

Starts a standalone master, workers as JVMs of their own, Beam's job server for Spark and a pool of Python workers; runs
the command with the Beam options that lead there behind its own arguments; and ends all of them whatever happens. Needs
Java 17, Maven, and `pip install '.[spark]'`. Logs are in `.vignette/spark/logs`.
"""

import argparse
import ctypes
import hashlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

HOST = "127.0.0.1"
START_SEC = 300
STOP_SEC = 10
POM = Path(__file__).resolve().parent / "pom.xml"
MAVEN_GOAL = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"
MASTER = "org.apache.spark.deploy.master.Master"
WORKER = "org.apache.spark.deploy.worker.Worker"
JOB_SERVER = "org.apache.beam.runners.spark.SparkJobServerDriver"
# Beam's pool, but for two things. It would leave its workers behind if nothing turned SIGTERM into an exit. And
# executors number their workers each for itself: asked by one to stop a worker, it may stop another's of that name,
# whose executor waits for ever. Here a worker ends by itself, when its executor hangs up.
POOL = """
import signal, sys
from apache_beam.portability.api import beam_fn_api_pb2
from apache_beam.runners.worker import worker_pool_main
worker_pool_main.BeamFnExternalWorkerPoolServicer.StopWorker = lambda *_: beam_fn_api_pb2.StopWorkerResponse()
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
worker_pool_main.main(sys.argv)
"""
# what Spark's own launcher opens for Java 17; the job server is a Spark driver that it does not start
OPENED = (
    *("java.lang", "java.lang.invoke", "java.lang.reflect", "java.io", "java.net", "java.nio", "java.util"),
    *("java.util.concurrent", "java.util.concurrent.atomic", "jdk.internal.ref", "sun.nio.ch", "sun.nio.cs"),
    *("sun.security.action", "sun.util.calendar"),
)
# the JVMs live for minutes: what takes long to compile or to set up does not pay
SHORT_LIVED = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
EMPTY_ZIP = b"PK\x05\x06" + bytes(18)
PR_SET_PDEATHSIG = 1
STDERR = 2


class Processes:
    """Programs in process groups of their own, which end with all that they started.

    Attributes:
        folder: Where their logs are, `<name>.log`.
        pids: Their process ids, which are those of their groups too.
    """

    def __init__(self, folder: Path) -> None:
        """Nothing runs yet."""
        self.folder = folder
        self.pids: dict[str, int] = {}
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start a program in the folder of the logs."""
        with (self.folder / f"{name}.log").open("wb") as log:
            self._start(name, command, cwd=self.folder, env=environment, stdout=log, stderr=log)

    def run(self, command: Sequence[str]) -> int:
        """Run a program here, with this process's output, to its end; returns its exit status."""
        return self._start("command", command).wait()

    def _start(self, name: str, command: Sequence[str], **settings: Any) -> subprocess.Popen[bytes]:
        """The program gets SIGTERM when this process dies, however it dies."""
        self._running[name] = process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            **settings,
        )
        self.pids[name] = process.pid
        return process

    def wait_for(self, name: str, port: int) -> None:
        """Wait until a program listens on a port.

        Raises:
            SystemExit: It ended, or does not listen in time; shows the end of its log.
        """
        limit = time.monotonic() + START_SEC
        while time.monotonic() < limit and self._running[name].poll() is None:
            with socket.socket() as probe:
                probe.settimeout(1)
                if probe.connect_ex((HOST, port)) == 0:
                    return
            time.sleep(0.1)
        log = self.folder / f"{name}.log"
        sys.exit(f"{name} does not listen on port {port}; the end of {log}:\n{log.read_text(errors='replace')[-2000:]}")

    def stop(self) -> None:
        """End all groups, by force what does not end by itself in time."""
        for end in (signal.SIGTERM, signal.SIGKILL):
            for process in self._running.values():
                _signal_group(process.pid, end)
            limit = time.monotonic() + STOP_SEC
            while any(_is_alive(process) for process in self._running.values()) and time.monotonic() < limit:
                time.sleep(0.05)


def _signal_group(group: int, number: int) -> bool:
    """Whether there was a process to signal in the group; signal 0 only asks."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True


def _is_alive(process: subprocess.Popen[bytes]) -> bool:
    process.poll()  # or the group would keep its dead leader
    return _signal_group(process.pid, 0)


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Cluster:
    """The cluster, from `with` to its end.

    Attributes:
        processes: `master`, `worker-0` ..., `pool`, `job-server`.
        options: Beam options that lead a stage to the cluster.
    """

    def __init__(self, project: Path, jars: Path, spark: Path, logs: Path, num_workers: int = 2) -> None:
        """Nothing runs yet.

        Args:
            project: Folder that the stages run in; the Python workers take the code from there.
            jars: Folder with the job server's jars.
            spark: Spark's home.
            logs: Folder for logs and for what Spark unpacks.
            num_workers: Spark workers, each a JVM with one core.
        """
        self.project, self.jars, self.spark, self.num_workers = project, jars, spark, num_workers
        self.processes = Processes(logs)
        self.options: tuple[str, ...] = ()

    def __enter__(self) -> "Cluster":
        """Start everything and wait until it listens."""
        self.processes.folder.mkdir(parents=True, exist_ok=True)
        try:
            self._start_all()
        except BaseException:
            self.processes.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End everything."""
        self.processes.stop()

    def _start_all(self) -> None:
        logs, start, environment = self.processes.folder, self.processes.start, self._environment()
        master, job, pool = (free_port() for _ in range(3))
        spark_class = str(self.spark / "bin" / "spark-class")  # executors of a worker started by plain java fail
        url = f"spark://{HOST}:{master}"
        start("master", [spark_class, MASTER, *f"--host {HOST} --port {master} --webui-port 0".split()], environment)
        start("pool", [sys.executable, "-c", POOL, f"--service_port={pool}"], environment)
        start("job-server", self._job_server(url, job), environment)
        self.processes.wait_for("master", master)
        bounds = f"--host {HOST} --cores 1 --memory 1g --webui-port 0".split()
        for number in range(self.num_workers):
            name = f"worker-{number}"
            start(name, [spark_class, WORKER, url, *bounds, "--work-dir", str(logs / name)], environment)
        self.processes.wait_for("pool", pool)
        self.processes.wait_for("job-server", job)
        nothing = logs / "nothing.jar"
        nothing.write_bytes(EMPTY_ZIP)
        self.options = (
            "--runner=PortableRunner",
            f"--job_endpoint={HOST}:{job}",
            "--environment_type=EXTERNAL",
            f"--environment_config={HOST}:{pool}",
            f"--files_to_stage={nothing}",  # else all jars, which the executors have, go with every job
        )

    def _environment(self) -> dict[str, str]:
        python = Path(sys.executable).parent  # the pool starts `python` from its PATH
        return {
            **os.environ,
            "PATH": os.pathsep.join([str(python), os.environ["PATH"]]),
            "PYTHONPATH": os.pathsep.join([str(self.project), os.environ.get("PYTHONPATH", "")]),
            "SPARK_HOME": str(self.spark),
            "SPARK_LOCAL_IP": HOST,
            "SPARK_LOCAL_DIRS": str(self.processes.folder / "local"),
            "SPARK_DAEMON_JAVA_OPTS": SHORT_LIVED,
            "SPARK_DAEMON_MEMORY": "256m",
        }

    def _job_server(self, url: str, port: int) -> list[str]:
        settings = {
            "spark.executor.extraClassPath": f"{self.jars}/*",  # before Spark's own: Beam needs a newer guava
            "spark.executor.extraJavaOptions": SHORT_LIVED,
            "spark.ui.enabled": "false",
            "beam.spark.test.reuseSparkContext": "true",  # else every job starts its executors' JVMs anew
        }
        return [
            *("java", "-Xmx1g", *SHORT_LIVED.split()),
            *(f"-D{name}={value}" for name, value in settings.items()),
            *(f"--add-opens=java.base/{name}=ALL-UNNAMED" for name in OPENED),
            *("-cp", os.pathsep.join([f"{self.jars}/*", f"{self.spark}/jars/*"]), JOB_SERVER),
            *f"--job-host {HOST} --job-port {port} --artifact-port 0 --expansion-port 0".split(),
            *("--artifacts-dir", str(self.processes.folder / "artifacts"), f"--spark-master-url={url}"),
        ]


def job_server_jars(home: Path) -> Path:
    """Folder of the job server's jars below `home`, fetched by Maven the first time and when the pom has changed.

    Raises:
        SystemExit: Java or Maven is missing, or Maven failed.
    """
    for program, package in (("java", "openjdk-17-jre-headless"), ("mvn", "maven")):
        if shutil.which(program) is None:
            sys.exit(f"{program} is missing: apt-get install {package}")
    folder = home / f"jars-{hashlib.sha256(POM.read_bytes()).hexdigest()[:12]}"
    if not folder.is_dir():
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home) as fresh:
            command = ["mvn", "-q", "-B", "-f", str(POM), MAVEN_GOAL, f"-DoutputDirectory={fresh}/jars"]
            # what Maven prints goes with the errors: standard output is the command's
            if subprocess.run([*command, "-DincludeScope=runtime"], check=False, stdout=STDERR).returncode:
                sys.exit(f"the job server's jars could not be fetched: {' '.join(command)}")
            (Path(fresh) / "jars").rename(folder)
    return folder


def spark_home() -> Path:
    """Folder of the installed pyspark, which is a whole Spark.

    Raises:
        SystemExit: It is not installed.
    """
    spec = importlib.util.find_spec("pyspark")
    if spec is None or spec.origin is None:
        sys.exit("pyspark is missing: pip install '.[spark]'")
    return Path(spec.origin).parent


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--workers", type=int, default=2, help="Spark workers, each a JVM with one core (default: 2)")
    parser.add_argument("command", nargs="+", help="what to run; Beam's options are put behind its arguments")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    home = Path(".vignette/spark").resolve()
    with Cluster(Path.cwd(), job_server_jars(home), spark_home(), home / "logs", arguments.workers) as cluster:
        status = cluster.processes.run([*arguments.command, *cluster.options])
    sys.exit(status)


if __name__ == "__main__":
    main()
