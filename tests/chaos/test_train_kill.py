"""`kill -9` of a training at random moments: what comes out has the same bytes as when nothing happened."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipelines.shared.files import digest_file
from tests.chaos.killing import KILLS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
ROUNDS = int(os.environ.get("VIGNETTE_KILLS", "3"))
ENTRY = {
    "module": "vae",
    "pack": "small",
    "image_px": 8,
    "width": 16,
    "num_groups": 4,
    "channel_multipliers": [1, 2],
    "training": {
        "steps": 60,
        "batch_size": 8,
        "learning_rate": 1e-3,
        "ema": 0.99,
        "flip": True,
        "device": "cpu",
        "validate_every": 40,
        "checkpoint_every_sec": 0,
    },
}
FILES = ("model.safetensors", "config.json", "history.csv", "README.md")


@pytest.fixture
def project(tmp_path, write_pack):
    write_pack(tmp_path / "data/pack/small", {"train": 40, "val": 9})
    with (tmp_path / "params.yaml").open("w") as file:
        YAML(typ="safe").dump({"seed": 0, "models": {"vae-small": ENTRY}}, file)
    return tmp_path


def start(project: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "pipelines.train", "vae-small"]
    return subprocess.Popen(command, cwd=project, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE)


def digests(project: Path) -> dict[str, str]:
    return {name: digest_file(project / "runs/vae-small" / name) for name in FILES}


def finish(project: Path) -> None:
    process = start(project)
    _, error = process.communicate(timeout=400)
    assert process.returncode == 0, error.decode()[-2000:]


def test_killed_at_random_moments(project):
    started = time.monotonic()
    finish(project)
    whole_sec = time.monotonic() - started
    undisturbed = digests(project)
    chance = random.Random(0)
    resumed = 0
    for _ in range(ROUNDS):
        shutil.rmtree(project / "runs")
        before = KILLS["killed"]
        for _ in range(2):
            process = start(project)
            try:
                process.wait(timeout=chance.uniform(0.4, 0.95) * whole_sec)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                KILLS["killed"] += 1
            resumed += any((project / ".vignette/scratch").rglob("resume.pt"))
        finish(project)
        assert digests(project) == undisturbed
        KILLS["as promised"] += KILLS["killed"] - before
    assert resumed, "no kill came between two steps"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_stop(project, number):
    finish(project)
    undisturbed = digests(project)
    shutil.rmtree(project / "runs")
    process = start(project)
    while not list((project / ".vignette/scratch").rglob("resume.pt")):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(number)
    _, error = process.communicate(timeout=400)
    assert process.returncode == 1
    assert error.decode().rstrip().endswith("vignette train vae-small: interrupted; the same command goes on from here")
    finish(project)
    assert digests(project) == undisturbed
