"""`kill -9` of `vignette repro` at random moments: the same command goes on, and the bytes are those of a quiet run."""

import random
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.chaos.killing import KILLS
from tests.pipelines.crawl_site import digests
from tests.pipelines.small_job import command, environment, write_project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
ROUNDS = 8
REPRO = ("python3", "-m", "pipelines.repro")
PUBLISHED = ("data", "runs", "dvclive", "scores", "reports")


def published(project: Path) -> dict[str, str]:
    return {f"{place}/{name}": digest for place in PUBLISHED for name, digest in digests(project / place).items()}


def test_killed_builds_end_like_a_quiet_one(tmp_path: Path) -> None:
    quiet, killed = write_project(tmp_path / "quiet"), tmp_path / "killed"
    shutil.copytree(quiet, killed)
    started = time.monotonic()
    command(quiet, "dvc", "repro", "--quiet")
    whole_sec = time.monotonic() - started
    assert "up to date" in command(quiet, "dvc", "status")
    chance, before = random.Random(0), KILLS["killed"]
    for _ in range(ROUNDS):
        process = subprocess.Popen(REPRO, cwd=killed, env=environment(), stderr=subprocess.DEVNULL)
        try:
            process.wait(timeout=chance.uniform(0.05, 0.3) * whole_sec)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            KILLS["killed"] += 1
    command(killed, *REPRO)
    assert published(killed) == published(quiet)
    command(killed, "python3", "-m", "pipelines.verify")
    KILLS["as promised"] += KILLS["killed"] - before
