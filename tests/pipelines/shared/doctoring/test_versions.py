from importlib import metadata

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from pipelines.shared.doctoring import versions
from pipelines.shared.doctoring.versions import Installed

SETUP = """from setuptools import setup
setup(name="x", python_requires=">=3.11", install_requires=["torch>=2.11", "open-clip-torch>=3.0"])
"""
WELL = {
    "torch": "2.15.0",
    "torchvision": "0.29.2",
    "open-clip-torch": "3.3.0",
    "scipy": "1.17.1",
    "webdataset": "1.0.2",
}


class Fake(Installed):
    """An environment with these distributions."""

    def __init__(self, **changes):
        self.found = WELL | {name.replace("_", "-"): version for name, version in changes.items()}

    def version(self, name):
        return Version(self.found[name]) if name in self.found else None

    def requirements(self, name):
        return [Requirement("numpy"), Requirement("torch==2.15.0")] if name == "torchvision" else []

    @property
    def python(self):
        return Version(self.found.get("python", "3.11.7"))


def codes(project, installed):
    checks = (versions.asked_for, versions.torch_pair, versions.combinations, versions.constrained)
    return [finding.code for check in checks for finding in check(project, installed)]


@pytest.fixture
def project(write_project):
    return write_project({"setup.py": SETUP, "constraints.txt": "scipy==1.17.1\nnot-installed==1\n"})


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, []),
        ({"python": "3.10.4"}, ["D30"]),
        ({"open_clip_torch": "2.32.0"}, ["D30"]),
        ({"torch": "2.10.0"}, ["D30", "D31"]),
        ({"torch": "2.14.0"}, ["D31"]),
        ({"torch": "2.15.0+cpu"}, ["D31"]),
        ({"torch": "2.15.0+cpu", "torchvision": "0.29.2+cpu"}, []),
        ({"torch": "2.15.0+cu130"}, []),
        ({"scipy": "1.18.0"}, ["D37"]),
        ({"scipy": "1.18.0", "clean_fid": "0.1.35"}, ["D32", "D37"]),
        ({"scipy": "1.18.0rc1", "pytorch_fid": "0.3.0"}, ["D37"]),
        ({"scipy": "1.17.1", "pytorch_fid": "0.3.0"}, []),
        ({"torchmetrics": "1.9.0", "transformers": "5.24.0"}, ["D33"]),
        ({"torchmetrics": "1.9.0", "transformers": "4.57.0"}, []),
        ({"torchmetrics": "1.10.0", "transformers": "5.24.0"}, []),
        ({"webdataset": "0.2.86"}, ["D34"]),
    ],
)
def test_environments(project, changes, found):
    assert codes(project, Fake(**changes)) == found


def test_something_missing_is_named(project):
    installed = Fake()
    del installed.found["open-clip-torch"]
    (finding,) = versions.asked_for(project, installed)
    assert finding.message == "open-clip-torch>=3.0 is required, nothing is installed"


def test_the_extra_that_pins_webdataset(write_project):
    project = write_project({"setup.py": SETUP.replace("open-clip-torch>=3.0", "open_clip_torch[training]>=3.0")})
    installed = Fake(open_clip_torch="3.3.0")
    installed.found["open_clip_torch"] = "3.3.0"
    assert codes(project, installed) == ["D35"]


def test_no_setup_and_no_constraints(write_project):
    assert codes(write_project(), Fake()) == []


@pytest.mark.parametrize(("runner", "number"), [("FnApiRunner", 0), ("DaskRunner", 1), ("DirectRunner", 1)])
def test_beam_runner(write_project, runner, number):
    found = list(versions.refused_runner(write_project({"params.yaml": f"models: {{}}\nbeam: {{runner: {runner}}}\n"})))
    assert [finding.code for finding in found] == ["D36"] * number


@pytest.mark.parametrize("name", ["torch", "torchvision", "Jinja2", "ruamel.yaml", "apache-beam"])
def test_versions_as_importlib_reads_them(name):
    assert Installed().version(name) == Version(metadata.version(name))


def test_this_environment():
    assert Installed().version("no-such-distribution") is None
    assert any(requirement.name == "torch" for requirement in Installed().requirements("torchvision"))
    assert Installed().python >= Version("3.11")
