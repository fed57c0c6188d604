"""What a stage writes depends neither on the clock nor on the umask, and a clock that jumps keeps no host for long."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines import crawl
from pipelines.refresh import refresh
from pipelines.shared import pace
from pipelines.shared.pace import MOST_SEC, Pace
from pipelines.shared.params import load_params
from pipelines.shared.stage import StageRun
from tests.pipelines.crawl_site import digests, write_project

OUT = Path("data/crawl/toys")
OPTIONS = ("--direct_running_mode=in_memory", "--direct_num_workers=1")
DAY_SEC = 86_400.0
JUMPING = f"""
import itertools, os, runpy, sys, time
os.umask(0o077)
real, jumps = time.time, itertools.cycle([0.0, {-DAY_SEC}, {400 * DAY_SEC}, -3.0, 3600.0])
time.time = lambda: real() + next(jumps)
sys.argv = ["vignette crawl", "toys", *{OPTIONS!r}]
runpy.run_module("pipelines.crawl", run_name="__main__")
"""


def test_a_clock_that_jumps_and_a_narrow_umask_change_no_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(write_project(tmp_path))
    refresh()
    crawl.run(StageRun(stage="crawl", key="toys", params=load_params(), beam_options=OPTIONS))
    expected = digests(OUT)
    OUT.rename("quiet")
    environment = {**os.environ, "VIGNETTE_NO_CACHE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", JUMPING], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    assert digests(OUT) == expected
    assert {path.stat().st_mode & 0o077 for path in OUT.rglob("*")} == {0}, "the umask held"


class Clock:
    """A clock that stands still but for sleeping, and can be set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.slept = 1_900_000_000.0, 0.0
        monkeypatch.setattr(pace.time, "time", lambda: self.now)
        monkeypatch.setattr(pace.asyncio, "sleep", self.sleep)

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept += seconds


@pytest.mark.parametrize("jump_sec", [-400 * DAY_SEC, -DAY_SEC, -60.0, 60.0, DAY_SEC, 400 * DAY_SEC])
@pytest.mark.parametrize("is_held", [False, True])
def test_a_clock_that_is_set_delays_a_turn_by_an_hour_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump_sec: float, is_held: bool
) -> None:
    clock, turns = Clock(monkeypatch), Pace(tmp_path)
    asyncio.run(turns.turn("a.com", 5.0))
    if is_held:
        turns.hold("a.com", 120.0)
    clock.now += jump_sec
    asyncio.run(turns.turn("a.com", 5.0))
    assert clock.slept <= (120.0 if jump_sec > 0 else MOST_SEC + 120.0)
    clock.slept = 0.0
    asyncio.run(turns.turn("a.com", 5.0))
    assert clock.slept <= 5.0, "and only once"
