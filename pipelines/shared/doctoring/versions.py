"""Checks of what is installed: against `setup.py` and `constraints.txt`, and for combinations known to break.

Only the metadata of distributions is read; nothing is imported. Where the facts come from: scipy 1.18 removed the
argument `disp` of `sqrtm`, which pytorch-fid, clean-fid and dgm-eval pass; torchmetrics before 1.10 calls `norm` on
what transformers 5 returns as an object; a torch of the CPU index beside a torchvision of another one lacks
`torchvision::nms`, so that open_clip, torchmetrics and torch-fidelity cannot be imported; open_clip's extra `training`
pins webdataset below 1.0.
"""

import ast
import platform
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from pipelines.shared.doctoring.findings import Finding
from pipelines.shared.doctoring.project import Project
from pipelines.shared.jobs import REFUSED_RUNNERS
from pipelines.shared.params import PARAMS_FILE

SETUP = Path("setup.py")
CONSTRAINTS = Path("constraints.txt")
VERSION = re.compile(r"^Version:\s*(\S+)", re.MULTILINE)
MAX_SHOWN = 4


@dataclass(frozen=True, slots=True)
class Combination:
    """Versions that do not work together.

    Attributes:
        code: Code of the finding.
        installed: Version ranges by distribution; it applies if all are installed in these ranges.
        message: What breaks.
        remedy: What to install in place.
    """

    code: str
    installed: Mapping[str, str]
    message: str
    remedy: str


COMBINATIONS = (
    *(
        Combination(
            "D32",
            {"scipy": ">=1.18", tool: ""},
            f"scipy.linalg.sqrtm lost the argument `disp`, {tool} passes it and fails with a TypeError",
            "scipy<1.18 for that tool, in an environment of its own",
        )
        for tool in ("pytorch-fid", "clean-fid", "dgm-eval")
    ),
    Combination(
        "D33",
        {"torchmetrics": "<1.10", "transformers": ">=5"},
        "torchmetrics' CLIPScore fails in `norm`; metrics/clip_score.py does not use it",
        "none needed, or torchmetrics>=1.10",
    ),
    Combination(
        "D34",
        {"webdataset": "<1.0"},
        "webdataset before 1.0 decodes pickles without asking and writes other bytes",
        "webdataset>=1.0, and open-clip-torch without its extra `training`, which pins an older one",
    ),
)


class Installed:
    """Distributions of this environment."""

    def version(self, name: str) -> Version | None:
        """The version; None if it is not installed."""
        try:
            text = metadata.distribution(name).read_text("METADATA") or ""
        except metadata.PackageNotFoundError:
            return None
        found = VERSION.search(text)  # `metadata.version` parses all of the text, which takes ten times as long
        return Version(found[1]) if found else None

    def requirements(self, name: str) -> list[Requirement]:
        """What it requires itself."""
        return [Requirement(line) for line in metadata.requires(name) or ()]

    @property
    def python(self) -> Version:
        """The version of this Python."""
        return Version(platform.python_version())


INSTALLED = Installed()


def asked_for(project: Project, installed: Installed = INSTALLED) -> Iterator[Finding]:
    """What `setup.py` asks for and is not there, and an extra that it should not ask for."""
    python, requirements = read_setup(project.root / SETUP)
    if installed.python not in python:
        message = f"this is Python {installed.python}, the project needs {python}"
        yield Finding("D30", str(SETUP), message, "make the environment with such a Python: make PYTHON=... setup")
    for requirement in requirements:
        found = installed.version(requirement.name)
        if found is None or not requirement.specifier.contains(found, prereleases=True):
            message = f"{requirement} is required, {found or 'nothing'} is installed"
            yield Finding("D30", str(SETUP), message, "make setup")
        if canonicalize_name(requirement.name) == "open-clip-torch" and "training" in requirement.extras:
            message = "the extra `training` of open-clip-torch pins webdataset below 1.0"
            yield Finding("D35", str(SETUP), message, "ask for open-clip-torch without the extra")


def torch_pair(project: Project, installed: Installed = INSTALLED) -> Iterator[Finding]:
    """A torchvision that was built for another torch."""
    torch, vision = installed.version("torch"), installed.version("torchvision")
    if torch is None or vision is None:
        return
    asked = [each for each in installed.requirements("torchvision") if canonicalize_name(each.name) == "torch"]
    wrong = next((each for each in asked if not each.specifier.contains(torch, prereleases=True)), None)
    remedy = "install both from one index, in one command"
    if wrong:
        yield Finding("D31", "environment", f"torchvision {vision} needs {wrong}, torch {torch} is installed", remedy)
    elif "cpu" in (torch.local, vision.local) and torch.local != vision.local:
        message = f"torch {torch} and torchvision {vision} come from two indexes: operator torchvision::nms is missing"
        yield Finding("D31", "environment", message, remedy)


def combinations(project: Project, installed: Installed = INSTALLED) -> Iterator[Finding]:
    """Combinations of the table that are installed."""
    for each in COMBINATIONS:
        found = {name: installed.version(name) for name in each.installed}
        if all(
            version is not None and SpecifierSet(each.installed[name]).contains(version, prereleases=True)
            for name, version in found.items()
        ):
            where = " and ".join(f"{name} {version}" for name, version in found.items())
            yield Finding(each.code, "environment", f"{where}: {each.message}", each.remedy)


def constrained(project: Project, installed: Installed = INSTALLED) -> Iterator[Finding]:
    """Versions that differ from those that results were made with."""
    path = project.root / CONSTRAINTS
    pins = [line.split("==") for line in path.read_text().splitlines() if "==" in line] if path.is_file() else []
    found = {name: (installed.version(name), Version(pinned)) for name, pinned in pins}
    other = [f"{name} {have} for {pinned}" for name, (have, pinned) in found.items() if have and have != pinned]
    if other:
        shown = ", ".join(other[:MAX_SHOWN]) + (f" and {len(other) - MAX_SHOWN} more" if len(other) > MAX_SHOWN else "")
        message = f"{shown}: the last bits of results may differ from published ones"
        yield Finding("D37", str(CONSTRAINTS), message, "make setup-test")


def refused_runner(project: Project) -> Iterator[Finding]:
    """A Beam runner in `params.yaml` that the stages refuse."""
    runner = (project.params.get("beam") or {}).get("runner")
    if runner in REFUSED_RUNNERS:
        message = f"beam.runner is {runner}: {REFUSED_RUNNERS[runner]}"
        yield Finding("D36", str(PARAMS_FILE), message, "FnApiRunner, or a portable runner")


def read_setup(path: Path) -> tuple[SpecifierSet, list[Requirement]]:
    """Python's range and the requirements in a `setup.py`, which is not run; no limits if there is none."""
    tree = ast.parse(path.read_bytes()) if path.is_file() else ast.Module([], [])
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("setup")]
    given = {keyword.arg: keyword.value for call in calls for keyword in call.keywords}
    python = ast.literal_eval(given["python_requires"]) if "python_requires" in given else ""
    required = ast.literal_eval(given["install_requires"]) if "install_requires" in given else []
    return SpecifierSet(python), [Requirement(line) for line in required]
