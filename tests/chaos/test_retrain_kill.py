"""`vignette retrain` killed at random moments ends with the same verdict as one that was left in peace."""

import random
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.chaos.killing import KILLS
from tests.pipelines.crawl_site import digests
from tests.pipelines.retrain_job import change_site, run_retrain, write_job
from tests.pipelines.small_job import command, environment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]
ROUNDS = 8
RETRAIN = ("python3", "-m", "pipelines.retrain")
PUBLISHED = ("data/pack", "data/evaluate", "runs", "scores/gates", "champions")


def published(project: Path) -> dict[str, str]:
    return {f"{place}/{name}": digest for place in PUBLISHED for name, digest in digests(project / place).items()}


def test_killed_retrainings_end_like_a_quiet_one(tmp_path: Path) -> None:
    quiet, killed = write_job(tmp_path / "quiet"), tmp_path / "killed"
    run_retrain(quiet)
    command(quiet, "python3", "-m", "pipelines.promote", "clip")
    change_site(quiet)
    shutil.copytree(quiet, killed)
    started = time.monotonic()
    run_retrain(quiet)
    whole_sec = time.monotonic() - started
    chance, before = random.Random(0), KILLS["killed"]
    ended = 0
    for _ in range(ROUNDS):
        process = subprocess.Popen(RETRAIN, cwd=killed, env=environment(), stderr=subprocess.DEVNULL)
        try:
            process.wait(timeout=chance.uniform(0.05, 0.4) * whole_sec)
            ended += 1
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            KILLS["killed"] += 1
    assert ended < ROUNDS, "nothing was killed"
    run_retrain(killed)
    assert published(killed) == published(quiet)
    assert "Nothing to do" in run_retrain(killed)
    assert len((killed / "scores/records.jsonl").read_text().splitlines()) == 2, "nothing is recorded twice"
    command(killed, "python3", "-m", "pipelines.verify")
    KILLS["as promised"] += KILLS["killed"] - before
