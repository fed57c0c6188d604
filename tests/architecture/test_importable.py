"""Every module can be imported with what `setup.py` requires, without extras; `vignette --help` names every command."""

import importlib
import pkgutil
from pathlib import Path

import pipelines.__main__

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("pipelines", "models", "metrics")


def test_every_module_can_be_imported() -> None:
    names = [
        module.name
        for package in PACKAGES
        for module in pkgutil.walk_packages([str(ROOT / package)], f"{package}.")
        if not module.name.endswith("__main__")
    ]
    assert len(names) > 250
    for name in names:
        importlib.import_module(name)


def test_help_names_every_command() -> None:
    modules = {path.stem for path in (ROOT / "pipelines").glob("*.py") if not path.name.startswith("__")}
    commands = {name.replace("-", "_") for name in pipelines.__main__.STAGES | pipelines.__main__.COMMANDS}
    assert commands == modules
    assert all(f"  {name} " in pipelines.__main__.usage() for name in pipelines.__main__.COMMANDS)
