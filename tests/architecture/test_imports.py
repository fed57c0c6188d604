"""Who may import whom: an AST walk over the whole project (DESIGN: rooms and doors)."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("pipelines", "models", "metrics")
PLUGIN_FOLDERS = (
    *("pipelines/sources", "pipelines/annotators", "pipelines/filters", "pipelines/captioners"),
    *("models", "metrics"),
)
FORBIDDEN = {
    "models": ("apache_beam", "dvc", "dvclive", "webdataset", "pipelines", "metrics", "pyarrow"),
    "metrics": ("apache_beam", "dvc", "dvclive", "webdataset", "pipelines", "models", "pyarrow"),
    "pipelines/sources": ("apache_beam", "dvc", "torch", "models", "metrics", "webdataset"),
    "pipelines/annotators": ("apache_beam", "dvc", "models", "metrics", "webdataset"),
    "pipelines/captioners": ("apache_beam", "dvc", "metrics", "webdataset", "pyarrow"),
    "pipelines/filters": ("apache_beam", "dvc", "torch", "models", "metrics", "webdataset"),
}
UNSAFE_CALLS = {"eval", "exec"}
UNSAFE_TEXT = ("pickle.load", "yaml.load(", "shell=True", "extractall(", "os.system(", "trust_remote_code=True")


def sources() -> list[Path]:
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    """Names of all modules that a file imports, at any depth of its code."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def under(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def plugins(folder: str) -> list[Path]:
    return [path for path in sorted((ROOT / folder).glob("*.py")) if path.name != "__init__.py"]


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_doors(path: Path) -> None:
    place = path.relative_to(ROOT).as_posix()
    for folder, names in FORBIDDEN.items():
        if place.startswith(folder + "/"):
            wrong = [name for name in imported(path) if any(under(name, forbidden) for forbidden in names)]
            assert not wrong, f"{place} may not import {wrong}"


@pytest.mark.parametrize("folder", PLUGIN_FOLDERS)
def test_plugins_never_import_each_other(folder: str) -> None:
    names = {f"{folder.replace('/', '.')}.{path.stem}" for path in plugins(folder)}
    for path in plugins(folder):
        assert not names & set(imported(path)), f"{path} imports another plug-in"


def test_nobody_imports_a_stage_module() -> None:
    stages = {f"pipelines.{path.stem}" for path in (ROOT / "pipelines").glob("*.py") if path.stem != "__init__"}
    commands = {f"pipelines.{name}" for name in ("scale", "refresh", "repro", "record")}
    for path in sources():
        allowed = commands if path.name in {"demo.py", "retrain.py"} else set()  # commands that are made of commands
        assert not (set(imported(path)) & stages) - allowed, f"{path} imports a stage module"


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_unsafe(path: Path) -> None:
    text = path.read_text()
    for pattern in UNSAFE_TEXT:
        assert pattern not in text, f"{path}: {pattern}"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in UNSAFE_CALLS, f"{path}:{node.lineno}: {called}"
            if called == "torch.load":
                keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                assert keywords.get("weights_only") == "True", f"{path}:{node.lineno}: torch.load"
