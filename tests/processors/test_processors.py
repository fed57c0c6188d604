"""No byte that a data stage publishes depends on the processor: `make test-processors`.

The same worker runs natively, with PyTorch held to less than the processor has, and under emulated processors: two of
today's makers, and one without AVX2 and fused multiply-add, for which numpy, libm and zlib choose other code.
"""

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

pytestmark = [pytest.mark.processors, pytest.mark.timeout(900)]
ROOT = Path(__file__).resolve().parents[2]
QEMU = "qemu-x86_64"
EMULATED = ("Haswell", "EPYC-Rome", "IvyBridge")
WITH_TORCH = EMULATED[:2]
CAPABILITIES = ("default", "avx2")


def worker(cpu: str, *arguments: str, **environment: str) -> dict[str, str]:
    """What `digests` prints under an emulated processor, or natively if none is named."""
    command = [*([QEMU, "-cpu", cpu] if cpu else []), sys.executable, "-m", "tests.processors.digests", *arguments]
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment}
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr[-2000:]}"
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def runs():
    """All runs, as many at a time as there are cores."""
    if shutil.which(QEMU) is None:
        pytest.fail(f"{QEMU} is missing: apt-get install qemu-user")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found: dict[tuple[str, str], Future] = {}
        for cpu in EMULATED:
            found[cpu, ""] = pool.submit(worker, cpu)
        for cpu in WITH_TORCH:
            found[cpu, "large"] = pool.submit(worker, cpu, "--large")
        for kind in CAPABILITIES:
            found[kind, "large"] = pool.submit(worker, "", "--large", ATEN_CPU_CAPABILITY=kind)
        found["threads", "large"] = pool.submit(worker, "", "--large", OMP_NUM_THREADS="4")
        found["", ""] = pool.submit(worker, "")
        found["", "large"] = pool.submit(worker, "", "--large")
        yield found


def different(one: dict[str, str], other: dict[str, str]) -> list[str]:
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


@pytest.mark.parametrize("cpu", EMULATED)
def test_stages_write_the_same_bytes(runs, cpu):
    assert different(runs[cpu, ""].result(), runs["", ""].result()) == []


@pytest.mark.parametrize("how", [*WITH_TORCH, *CAPABILITIES, "threads"])
def test_large_pictures_are_resized_to_the_same_bytes(runs, how):
    assert different(runs[how, "large"].result(), runs["", "large"].result()) == []


def test_every_kind_of_work_took_part(runs):
    names = runs["", ""].result()
    for kind in ("examine", "decode", "encode_image", "encode_clip", "resize", "annotate", "stage", "write_layer"):
        assert any(name.split()[0] == kind for name in names), kind
