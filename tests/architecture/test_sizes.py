"""Files of about 300 lines, functions of about 60, and a mirrored test for every module."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("pipelines", "models", "metrics", "examples")
MAX_FILE_LINES = 350
MAX_FUNCTION_LINES = 70
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_lengths(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= MAX_FILE_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < MAX_FUNCTION_LINES, f"{node.name} is too long"


# the builder of the embedded site is tested through its one command
MIRRORED = [path for path in MODULES if not path.name.startswith("__") and path.parent.name != "examples"]


@pytest.mark.parametrize("path", MIRRORED, ids=name)
def test_has_a_mirrored_test(path: Path) -> None:
    relative = path.relative_to(ROOT)
    mirror = ROOT / "tests" / relative.parent / f"test_{relative.name}"
    assert mirror.exists(), f"{mirror.relative_to(ROOT)} is missing"
