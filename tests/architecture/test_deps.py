"""DVC does not follow Python imports, so each stage's declared code is compared with what its module really imports."""

import ast
from pathlib import Path

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("pipelines", "models", "metrics")
DVC = YAML(typ="safe", pure=True).load((ROOT / "dvc.yaml").read_text())["stages"]
# plug-ins arrive by name, so no import shows them; the stage that loads them declares the one of its instance
PLUGIN_DEPS = {
    "crawl": {"pipelines/sources"},
    "annotate": {"pipelines/annotators"},
    "filter": {"pipelines/filters"},
    "train": {"models/${item.module}.py"},
    "stack": {"models/${item.module}.py"},
    "evaluate": {"metrics"},
    "reference": {"metrics"},
}


def module_file(name: str) -> Path | None:
    """The project's file of a module, if it is one of the project's."""
    if name.split(".")[0] not in PACKAGES:
        return None
    base = ROOT / name.replace(".", "/")
    for candidate in (base.with_suffix(".py"), base / "__init__.py"):
        if candidate.exists():
            return candidate
    return None


def closure(start: Path) -> set[str]:
    """All project files that a file imports, directly or not, packages' `__init__` included."""
    seen: set[Path] = set()
    waiting = [start]
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        names: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        waiting += [found for name in names if (found := module_file(name))]
    return {path.relative_to(ROOT).as_posix() for path in seen if path.name != "__init__.py"}


def declared_code(stage: str) -> set[str]:
    body = DVC[stage].get("do", DVC[stage])
    return {dep for dep in body["deps"] if dep.split("/")[0] in PACKAGES}


@pytest.mark.parametrize("stage", sorted(DVC))
def test_declared_code_covers_all_imports(stage: str) -> None:
    body = DVC[stage].get("do", DVC[stage])
    command = body["cmd"] if isinstance(body["cmd"], str) else body["cmd"][0]
    module = command.split()[2]
    start = module_file(module)
    assert start is not None, f"{module} is not a module of the project"
    declared = declared_code(stage)
    folders = [ROOT / dep for dep in PLUGIN_DEPS.get(stage, set()) if (ROOT / dep).is_dir()]
    starts = [start, *(path for folder in folders for path in folder.glob("*.py"))]
    missing = {
        file
        for file in set().union(*map(closure, starts))
        if file not in declared and not any(file.startswith(folder + "/") for folder in declared)
    }
    assert not missing, f"stage {stage} reads code that it does not declare"
    assert PLUGIN_DEPS.get(stage, set()) <= declared, f"stage {stage} does not declare its plug-ins"


@pytest.mark.parametrize("stage", sorted(DVC))
def test_declared_files_exist(stage: str) -> None:
    for dep in declared_code(stage):
        assert "${" in dep or (ROOT / dep).exists(), f"stage {stage} declares {dep}, which does not exist"
