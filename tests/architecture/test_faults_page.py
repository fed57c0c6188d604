"""`docs/faults.md` has a row for every fault, names tests that exist, and words that the code knows."""

import ast
import functools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "faults.md"
NUM_ROWS = 44
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
WORD = re.compile(r"`([a-z]+(?:_[a-z0-9]+)+)`")


def rows() -> list[list[str]]:
    """Cells of each row of the table."""
    lines = [line for line in PAGE.read_text().splitlines() if re.match(r"\| *\d+ *\|", line)]
    return [[cell.strip() for cell in line.strip("| \n").split(" | ")] for line in lines]


@functools.cache
def functions(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / path).read_text())
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name[:5] == "test_")


@functools.cache
def code() -> str:
    paths = sorted((ROOT / "pipelines").rglob("*.py"))
    return "\n".join([*(path.stem for path in paths), *(path.read_text() for path in paths)])


def test_every_fault_has_a_row_of_four_cells() -> None:
    assert [int(row[0]) for row in rows()] == list(range(1, NUM_ROWS + 1))
    assert {len(row) for row in rows()} == {4}


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_a_row_names_tests_that_exist(row: list[str]) -> None:
    named = TEST.findall(row[3])
    assert named and not TEST.sub("", row[3]).strip(" ,"), "tests alone, at least one"
    missing = [f"{path}::{name}" for path, name in named if not (ROOT / path).exists() or name not in functions(path)]
    assert not missing


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_words_of_a_row_are_words_of_the_code(row: list[str]) -> None:
    for word in WORD.findall(row[2]):
        assert re.search(rf"\b{word}\b", code()), f"{word} stands nowhere in pipelines/"


def test_what_is_absent_says_why() -> None:
    absent = {row[0]: row[2].partition("bsent")[2] for row in rows() if "bsent" in row[2]}
    assert absent and all(len(reason.split()) >= 8 for reason in absent.values()), absent
