import json
import socket
from pathlib import Path

import pytest

from pipelines.shared import machine
from pipelines.shared.machine import Difference, machine_differences, machine_facts, processor

CPU_INFO = """processor\t: 0
vendor_id\t: AuthenticAMD
cpu family\t: 25
model\t\t: 17
model name\t: AMD EPYC 9B14

processor\t: 1
model name\t: another
"""


def test_facts_are_json_and_name_no_place() -> None:
    text = json.dumps(machine_facts(), allow_nan=False)
    assert socket.gethostname() not in json.loads(text)["system"]
    assert str(Path.home()) not in text and str(Path.cwd()) not in text


def test_facts_say_what_decides_bits() -> None:
    facts = machine_facts()
    assert {"torch", "numpy", "av", "PIL"} <= facts["libraries"].keys()
    assert facts["codecs"]["libavcodec"].count(".") == 2 and facts["codecs"]["webp"]
    assert facts["cores"] >= 1 and facts["features"] == sorted(facts["features"])
    assert facts == machine_facts()


@pytest.mark.skipif(not machine.CPU_INFO.is_file(), reason="no /proc/cpuinfo")
def test_features_are_those_that_the_system_lists() -> None:
    flags = set(machine.CPU_INFO.read_text().split())
    for ours, theirs in (("AVX2", "avx2"), ("AVX512F", "avx512f"), ("F16C", "f16c")):
        assert (ours in machine.features()) == (theirs in flags)


def test_variables_that_choose_other_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "avx2")
    monkeypatch.setenv("SECRET", "x")
    assert machine_facts()["variables"]["ATEN_CPU_CAPABILITY"] == "avx2"
    assert "SECRET" not in json.dumps(machine_facts())


def test_the_processor_is_named_with_its_family() -> None:
    assert processor(CPU_INFO) == "AMD EPYC 9B14 (AuthenticAMD family 25 model 17)"
    assert processor("") != ""


def test_differences_name_what_differs_and_nothing_else() -> None:
    there = {"processor": "a", "features": ["AVX", "AVX2"], "python": "3.11.7", "libraries": {"torch": "1", "x": "1"}}
    here = {"processor": "a", "features": ["AVX"], "python": "3.12.1", "libraries": {"torch": "2", "y": "1"}}
    assert machine_differences(there, here) == [
        Difference(name="features that only one has", there="AVX2", here="nothing"),
        Difference(name="python", there="3.11.7", here="3.12.1"),
        Difference(name="torch", there="1", here="2"),
    ], "a library that one of the two lacks took no part"
    assert machine_differences(there, there) == []


def test_a_variable_that_only_one_sets_is_a_difference() -> None:
    found = machine_differences({}, {"variables": {"MKL_CBWR": "COMPATIBLE"}, "libraries": {"torch": "2"}})
    assert found == [Difference(name="MKL_CBWR", there="nothing", here="COMPATIBLE")]


def test_a_system_that_does_not_name_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> dict[str, str]:
        raise OSError

    monkeypatch.setattr("platform.freedesktop_os_release", missing)
    assert machine.system()
