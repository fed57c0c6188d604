"""The data stages on Apache Spark: the bytes of a local build, also after an executor or a Python worker was killed."""

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from tests.pipelines.crawl_site import digests
from tests.pipelines.small_job import ROOT, command, environment, small_params, write_code

pytestmark = [pytest.mark.spark, pytest.mark.timeout(1500)]
HOME = ROOT / ".vignette/spark"
CLUSTER = ROOT / "deploy/spark/cluster.py"
SOURCES = ("clipart", "emoji", "emoji-motion")
STAGES = (
    *(("crawl", source) for source in SOURCES),
    *(("annotate", source) for source in SOURCES),
    *(("filter", "base"), ("pack", "web"), ("pack", "motion"), ("recaption", "first"), ("pack", "bootstrapped")),
)
# in one process, which spares the start of an interpreter and of workers for each stage
LOCAL_BUILD = """
from pipelines import annotate, crawl, filter, pack, recaption, refresh, train
from pipelines.shared.params import load_params
from pipelines.shared.stage import StageRun

def run(module, *keys):
    for key in keys:
        name = module.__name__.split(".")[-1]
        module.run(StageRun(stage=name, key=key, params=params, beam_options=options))

if __name__ == "__main__":
    params, options = load_params(), ("--direct_running_mode=in_memory", "--direct_num_workers=1")
    refresh.refresh()
    run(crawl, *params["sources"])
    run(annotate, *params["sources"])
    run(filter, "base")
    run(pack, "web", "motion")
    run(train, "clip", "blip", "blip-captioner", "blip-matcher")
    run(recaption, "first")
    run(pack, "bootstrapped")
"""


def cluster_module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("cluster", CLUSTER)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small job's data and models, built by the local runner."""
    project = tmp_path_factory.mktemp("spark") / "local"
    write_code(project)
    params = small_params(ROOT / "examples/site")
    params["sources"]["clipart"]["samples_per_shard"] = 3  # many tasks, so that a kill finds some still to be done
    (project / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    (project / "local_build.py").write_text(LOCAL_BUILD)
    command(project, "python3", "local_build.py")
    return project


@pytest.fixture(scope="module")
def project(local: Path) -> Path:
    """A copy that has the trained models, and no data."""
    copy = local.with_name("spark")
    shutil.copytree(local, copy, ignore=shutil.ignore_patterns("data", ".vignette"))
    return copy


@pytest.fixture(scope="module")
def cluster(project: Path) -> Iterator[Any]:
    module = cluster_module()
    with module.Cluster(project, module.job_server_jars(HOME), module.spark_home(), project.with_name("logs")) as made:
        yield made


@pytest.fixture
def start(project: Path, cluster: Any) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a stage on the cluster, in the project's folder if no other is given; it ends with the test."""
    started: list[subprocess.Popen[str]] = []

    def stage(name: str, key: str, folder: Path = project) -> subprocess.Popen[str]:
        words = ["python3", "-m", f"pipelines.{name}", key, *cluster.options]
        surroundings = {**environment(), "VIGNETTE_NO_CACHE": "1"}
        process = subprocess.Popen(words, cwd=folder, env=surroundings, stderr=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield stage
    for process in started:
        process.kill()
        process.communicate()


def ended(process: subprocess.Popen[str]) -> None:
    _, said = process.communicate(timeout=600)
    assert process.returncode == 0, said[-3000:]


def members(group: int, name: str = "") -> list[int]:
    """Ids of the living processes of a group whose command line has a name."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            state, _, process_group = (path / "stat").read_text().rpartition(")")[2].split()[:3]
            words = (path / "cmdline").read_text()
        except OSError:
            continue
        if int(process_group) == group and state != "Z" and name in words:
            found.append(int(path.name))
    return found


def until(find: Callable[[], Any], process: subprocess.Popen[Any], what: str) -> Any:
    limit = time.monotonic() + 300
    while time.monotonic() < limit and process.poll() is None:
        if found := find():
            return found
        time.sleep(0.02)
    raise AssertionError(f"no {what}; {process.returncode}: {process.stderr.read() if process.stderr else ''}")


def children(parent: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


def test_nothing_is_left_of_a_command_that_is_ended(tmp_path: Path) -> None:
    """SIGTERM of `deploy/spark/cluster.py` while its command runs."""
    HOME.mkdir(parents=True, exist_ok=True)
    (tmp_path / ".vignette").mkdir()
    (tmp_path / ".vignette" / "spark").symlink_to(HOME)
    waiting = "import os, sys, time; print(os.getppid(), *sys.argv[1:], flush=True); time.sleep(600)"
    words = [sys.executable, str(CLUSTER), "--", sys.executable, "-c", waiting]
    with subprocess.Popen(words, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        parent, *options = process.stdout.readline().split()
        groups = children(process.pid)
        process.terminate()
        assert process.wait(timeout=60) == 128 + signal.SIGTERM
    assert int(parent) == process.pid and "--runner=PortableRunner" in options
    assert len(groups) == 6, "master, two workers, pool, job server, and the command"
    assert [members(group) for group in groups] == [[]] * 6


def test_every_data_stage_has_the_bytes_of_a_local_build(
    project: Path, local: Path, cluster: Any, start: Callable[..., subprocess.Popen[str]]
) -> None:
    for stage, key in STAGES:
        ended(start(stage, key))
    assert digests(project / "data") == digests(local / "data")
    said = (cluster.processes.folder / "job-server.log").read_text()
    assert len(re.findall(r"SparkPipelineRunner: Job \S+ finished", said)) == len(STAGES)
    assert set(re.findall(r"Finished task .* \(executor (\d+)\)", said)) == {"0", "1"}, "both workers took part"


@pytest.mark.parametrize(
    ("of", "name"), [("worker-0", "CoarseGrainedExecutorBackend"), ("pool", "apache_beam.runners.worker.sdk_worker")]
)
def test_a_killed_process_changes_nothing(
    of: str, name: str, project: Path, local: Path, cluster: Any, start: Callable[..., subprocess.Popen[str]]
) -> None:
    """`kill -9` of an executor, or of a Python worker, when the first shards of a crawl are made."""
    log = cluster.processes.folder / "job-server.log"
    already = log.read_text().count("Lost task")
    shutil.rmtree(project / "data" / "crawl" / "clipart", ignore_errors=True)
    scratch = project / ".vignette" / "scratch" / "crawl" / "clipart"
    process = start("crawl", "clipart")
    until(lambda: list(scratch.glob("*/*.json")), process, "shard")
    victim = max(members(cluster.processes.pids[of], name))
    os.kill(victim, signal.SIGKILL)
    ended(process)
    assert log.read_text().count("Lost task") > already, "it was killed in the middle of its work"
    assert digests(project / "data/crawl/clipart") == digests(local / "data/crawl/clipart")


def test_a_store_in_the_place_of_the_folder(
    local: Path, cluster: Any, start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    """Workers get and give files through a store alone, each in a folder of its own."""
    stage = tmp_path / "stage"
    shutil.copytree(local, stage, ignore=shutil.ignore_patterns("data", ".vignette"))
    params = yaml.safe_load((stage / "params.yaml").read_text())
    (stage / "params.yaml").write_text(yaml.safe_dump({**params, "store": f"file://{tmp_path}/store"}, sort_keys=False))
    for name in ("crawl", "annotate"):
        ended(start(name, "clipart", stage))
        assert digests(stage / "data" / name / "clipart") == digests(local / "data" / name / "clipart")
    stored = digests(tmp_path / "store")
    assert stored and all(path.startswith("files/") and path.endswith(sha256) for path, sha256 in stored.items())
