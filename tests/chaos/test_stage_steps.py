"""Every data stage killed before each change that it makes to a file system, publishing and clean-up among them.

The promise: what is published is the old folder or the new one, whole; the next run ends with the quiet build's bytes,
and nothing is left lying about.
"""

import errno
import itertools
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.chaos.killing import KILLS, in_child, num_steps, run_faulty, run_killed
from tests.chaos.stages import STAGES, build, command, forget, leftovers, published

MAX_KILLS = int(os.environ.get("VIGNETTE_STEPS", "12"))
CACHED = ("crawl", "annotate", "pack")
CASES = [(*stage, has_cache) for has_cache in (True, False) for stage in STAGES if stage[0] in CACHED or not has_cache]
CODES = (errno.ENOSPC, errno.EIO, errno.EROFS)
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM)


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, dict[str, str]]]:
    """The project's digests; tests work in its folder."""
    before = Path.cwd()
    yield build(tmp_path_factory.mktemp("chaos") / "project")
    os.chdir(before)


@pytest.fixture
def project(quiet: dict[str, dict[str, str]], tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    os.chdir(next(tmp_path_factory.getbasetemp().glob("chaos*")) / "project")
    return quiet


def spread(steps: int, most: int) -> list[int]:
    """Numbers of steps: the last ones, which publish and clean up, and some of all."""
    numbers = set(range(max(1, steps - most // 2), steps + 1))
    return sorted(numbers | {1 + index * steps // most for index in range(most)} & set(range(1, steps + 1)))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("stage", "key", "has_cache"), CASES)
def test_killed_at_chosen_steps(project: dict, stage: str, key: str, has_cache: bool) -> None:
    expected = project[f"{stage}/{key}"]
    forget(cache=not has_cache)
    steps = num_steps(lambda: command(stage, key))
    most = MAX_KILLS if has_cache else MAX_KILLS // 4
    for turn, number in enumerate(spread(steps, most)):
        forget(cache=not has_cache)
        before = KILLS["killed"]
        run_killed(lambda: command(stage, key), number, SIGNALS[turn % len(SIGNALS)])
        assert published(stage, key) == expected, f"killed at step {number} of {steps}"
        assert in_child(lambda: command(stage, key)) == 0, f"after a kill at step {number} of {steps}"
        assert published(stage, key) == expected and leftovers() == [], f"after a kill at step {number} of {steps}"
        KILLS["as promised"] += KILLS["killed"] - before


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("stage", "key"), STAGES)
def test_killed_again_and_again(project: dict, stage: str, key: str) -> None:
    """Each run goes on from what the one before has left, and is killed a little later."""
    forget()
    last = num_steps(lambda: command(stage, key))
    forget()
    before = KILLS["killed"]
    for number in range(3, last, max(1, last // 5)):
        run_killed(lambda number=number: command(stage, key), number)
        assert published(stage, key) == project[f"{stage}/{key}"]
    assert in_child(lambda: command(stage, key)) == 0
    assert published(stage, key) == project[f"{stage}/{key}"] and leftovers() == []
    KILLS["as promised"] += KILLS["killed"] - before


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("stage", "key"), STAGES)
def test_an_error_of_the_disk_from_some_step_on(project: dict, stage: str, key: str) -> None:
    expected = project[f"{stage}/{key}"]
    forget()
    steps = num_steps(lambda: command(stage, key))
    for number, code in zip(spread(steps, 4), itertools.cycle(CODES), strict=False):
        forget()
        status, said = run_faulty(lambda: command(stage, key), number, code)
        assert published(stage, key) == expected
        if status:
            assert refusal(said, stage, key).count(os.strerror(code)) == 1
    assert in_child(lambda: command(stage, key)) == 0
    assert published(stage, key) == expected and leftovers() == []


def refusal(said: str, stage: str, key: str) -> str:
    """The one line of a command that refused something, which names a path, beside the bars."""
    lines = [
        line for line in said.replace("\r", "\n").splitlines() if line and "%|" not in line and "link/s]" not in line
    ]
    assert len(lines) == 1 and lines[0].startswith(f"vignette {stage} {key}: "), said
    assert ".vignette/" in lines[0] or "data/" in lines[0] or "/tmp" in lines[0], "the path"
    return lines[0]


@contextmanager
def small_disk(mebibytes: int) -> Iterator[Path]:
    """A folder on a file system of its own."""
    folder = Path(tempfile.mkdtemp())
    words = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "vignette-test", str(folder)]
    if os.getuid() or subprocess.run(words, check=False, capture_output=True).returncode:
        folder.rmdir()
        pytest.skip("a small file system takes the right to mount one")
    before = Path.cwd()
    try:
        yield folder
    finally:
        os.chdir(before)
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
        folder.rmdir()


def fill(folder: Path, kibibytes: int) -> None:
    """Leave so much of the file system of a folder."""
    stat = os.statvfs(folder)
    with (folder / "filler").open("wb") as handle:
        handle.write(bytes(max(0, stat.f_bavail * stat.f_frsize - kibibytes * 1024)))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_full_disk() -> None:
    """Every data stage at five fill levels: done, or refused in a line with what was there intact."""
    with small_disk(48) as disk:
        quiet = build(disk / "project")
        for stage, key in STAGES:
            refused = 0
            for kibibytes in (0, 12, 32, 64, 128):
                forget()
                fill(disk, kibibytes)
                reading, writing = os.pipe()
                status = in_child(lambda stage=stage, key=key: command(stage, key), stderr=writing)
                os.close(writing)
                with os.fdopen(reading) as pipe:
                    said = pipe.read()
                (disk / "filler").unlink()
                assert published(stage, key) == quiet[f"{stage}/{key}"], f"{stage} with {kibibytes} KiB: {said}"
                if status:
                    assert "No space left on device: make room there" in refusal(said, stage, key)
                    refused += 1
            assert refused, f"{stage} never met a full disk"
            assert in_child(lambda stage=stage, key=key: command(stage, key)) == 0
            assert published(stage, key) == quiet[f"{stage}/{key}"] and leftovers() == []
