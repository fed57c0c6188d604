"""`kill -9` of a crawl at random moments: the next run ends with the bytes of a crawl that nobody disturbed.

`VIGNETTE_KILLS` sets how many rounds of the slow test are run; each round kills twice, then lets the crawl finish.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines.refresh import refresh
from pipelines.shared.crawl_settings import CrawlSettings, SourceEntry, fetch_settings
from pipelines.shared.crawling import PLAN
from pipelines.shared.finding import make_plan
from pipelines.shared.plan import read_plan
from pipelines.shared.serve import serving
from pipelines.sources.html_site import Config, Source
from tests.chaos.killing import KILLS
from tests.pipelines.crawl_site import digests, write_project

ROUNDS = int(os.environ.get("VIGNETTE_KILLS", "3"))
OUT = Path("data/crawl/toys")
WORKER = """
import sys
from pathlib import Path
from pipelines.shared.crawl_settings import CrawlSettings, SourceEntry, fetch_settings
from pipelines.shared.crawling import CrawlShard
from pipelines.shared.files import write_json
scratch, port = Path(sys.argv[1]), int(sys.argv[2])
work = CrawlShard(source="toys", fetch=fetch_settings(CrawlSettings(), SourceEntry(), port), settings=CrawlSettings())
print("ready", flush=True)
for name in sys.argv[3:]:
    if not (scratch / f"{name}.json").exists():
        write_json(scratch / f"{name}.json", work(name, scratch))
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(write_project(tmp_path))
    refresh()
    return tmp_path


def shards_in(scratch: Path) -> dict[str, str]:
    return {name: value for name, value in digests(scratch).items() if name.endswith((".tar", ".parquet"))}


def test_killed_worker(project: Path) -> None:
    """The work of shards, without Beam around it, killed at five moments from its start to its end."""
    chance = random.Random(0)
    with serving(Path("site")) as port:
        fetch, own = fetch_settings(CrawlSettings(), SourceEntry(), port), SourceEntry(samples_per_shard=3)

        def worker(scratch: Path) -> subprocess.Popen[bytes]:
            names = (read_plan(scratch / PLAN) or make_plan("toys", source, fetch, own, scratch / PLAN)).chunks
            command = [sys.executable, "-c", WORKER, str(scratch), str(port), *names]
            process = subprocess.Popen(command, stdout=subprocess.PIPE)
            assert process.stdout is not None and process.stdout.readline() == b"ready\n"
            return process

        source = Source(Config(start="toys/", origin="human"))
        started = time.monotonic()
        assert worker(project / "whole").wait(60) == 0
        whole_sec = time.monotonic() - started
        for _ in range(5):
            process = worker(project / "killed")
            try:
                process.wait(chance.uniform(0, 0.4) * whole_sec)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
        assert worker(project / "killed").wait(60) == 0
    assert shards_in(project / "killed") == shards_in(project / "whole") != {}


@pytest.mark.slow
@pytest.mark.timeout(600 * ROUNDS)
def test_killed_stage(project: Path) -> None:
    """The stage's command with its two worker processes, killed while it reads pages, fetches, or publishes."""

    def start(no_cache: int) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "pipelines.crawl", "toys", "--direct_num_workers=2"]
        env = {**os.environ, "VIGNETTE_NO_CACHE": str(no_cache)}
        return subprocess.Popen(command, cwd=project, env=env, stderr=subprocess.PIPE, start_new_session=True)

    def finish(no_cache: int) -> None:
        process = start(no_cache)
        _, error = process.communicate(timeout=300)
        assert process.returncode == 0, error.decode()[-2000:]

    Path("params.yaml").write_text(
        Path("params.yaml").read_text().replace("samples_per_shard: 5", "samples_per_shard: 2")
    )
    started = time.monotonic()
    finish(no_cache=0)
    whole_sec = time.monotonic() - started
    undisturbed = digests(OUT)
    chance = random.Random(1)
    resumed = 0
    for number in range(ROUNDS):
        no_cache = (number + 1) % 2  # every second round finds its shards in the cache
        shutil.rmtree(OUT)
        for _ in range(2):
            process = start(no_cache)
            time.sleep(chance.uniform(0.1, 1.0) * whole_sec)
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            KILLS["killed"] += 1
            resumed += any(Path(".vignette/scratch").rglob("[0-9a-f]*000.json"))
        finish(no_cache)
        assert digests(OUT) == undisturbed
        KILLS["as promised"] += 2
    assert ROUNDS < 3 or resumed, "at least one run went on from what another had finished"
