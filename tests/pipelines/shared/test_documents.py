"""JSON and YAML that are damaged or hostile: one line each, and soon."""

import json
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.shared.documents import (
    MAX_YAML_CHARACTERS,
    check_canonical,
    open_sealed,
    parse_json,
    parse_yaml,
    read_json,
    write_sealed,
)
from pipelines.shared.files import write_json

LETTERS = "abcdefghi"
LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n" for old, new in pairwise(LETTERS)
)
MERGES = "a: &a {x: 1, y: 2}\n" + "".join(
    f"{new}: &{new} {{<<: [{', '.join([f'*{old}'] * 10)}]}}\n" for old, new in pairwise(LETTERS)
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "Expecting value"),
        (b"\xff", "can't decode"),
        (b'{"a": NaN}', "NaN is not a number"),
        (b"[Infinity]", "Infinity is not a number"),
        (b"[-Infinity]", "-Infinity is not a number"),
        (b"[1e999]", "the number 1e999 is too large"),
        (b"[-1e999]", "the number -1e999 is too large"),
        (b'{"a": 1, "b": 2, "a": 3}', "the key 'a' is there twice"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b"[" + b"1" * 5000 + b"]", "Exceeds the limit"),
        (b"\xef\xbb\xbf{}", "BOM"),
    ],
)
def test_json_that_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        parse_json(content, "some.json")
    assert str(caught.value).startswith("some.json is not JSON: ") and "\n" not in str(caught.value)


def test_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.json is missing"):
        read_json(tmp_path / "a.json")
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(ValueError, match=r"a\.json is not a thing: Expecting"):
        read_json(tmp_path / "a.json", "a thing")


@given(st.dictionaries(st.text().filter(lambda name: name != "sha256"), VALUES, max_size=4))
def test_what_was_sealed_comes_back(tmp_path_factory: pytest.TempPathFactory, values: dict[str, Any]) -> None:
    path = tmp_path_factory.getbasetemp() / "sealed.json"
    write_sealed(path, values)
    assert open_sealed(path) == json.loads(json.dumps(values))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("1", "2", 1), "does not have the sha256 that it holds"),
        (lambda text: text.replace("  ", " ", 1), "is not written as this program writes it"),
        (lambda text: text.replace('"a"', '"\\u0061"', 1), "is not written as this program writes it"),
        (lambda text: text[:-1], "is not written as this program writes it"),
        (lambda text: text.replace("sha256", "sha257"), "does not hold its own sha256"),
        (lambda text: text.replace('"a"', '"\\ud800"', 1), "is not written as this program writes it"),
        (lambda text: "[]\n", "it must be a mapping, got list"),
    ],
)
def test_any_change_of_a_sealed_file_is_noticed(tmp_path: Path, change: Any, message: str) -> None:
    path = tmp_path / "sealed.json"
    write_sealed(path, {"a": 1, "b": [True, None, "ü"]})
    path.write_text(change(path.read_text()))
    with pytest.raises(ValueError, match=rf"sealed\.json.* {message}"):
        open_sealed(path)


def test_a_file_of_ours_is_as_we_write_it(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": 1.5, "a": "ü"})
    check_canonical(tmp_path / "a.json", read_json(tmp_path / "a.json"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LAUGHS, "stands for more than 500000 values"),
        (MERGES, "stands for more than 500000 values"),
        ("a: &a [*a]", r"\*a stands inside what it names"),
        ("a: &a {b: [1, {c: *a}]}", r"\*a stands inside what it names"),
        ("a: &a {<<: *a}", r"\*a stands inside what it names"),
        ("[" * 100_000, "is nested more than 64 deep"),
        ("- " * 100_000, "is nested more than 64 deep"),
        ("{a: " * 50_000, "is nested more than 64 deep"),
        ("a: &a " + "[" * 40 + "]" * 40 + "\nb: " + "[" * 40 + "*a" + "]" * 40, "is nested more than 64 deep"),
        ("a: *nothing", "undefined alias"),
        ("a: 1\na: 2", "duplicate key"),
        ("!!python/object/apply:os.system [ls]", "could not determine a constructor"),
        ("!!python/name:os.system", "could not determine a constructor"),
        ("a: !mine 3", "could not determine a constructor"),
        ("a: !!int x", "invalid literal"),
        ("a: !!float x", "could not convert"),
        ("a: !!timestamp x", "is not valid YAML"),
        ("a: [1", "is not valid YAML"),
        ("a\x00b", "is not valid YAML"),
        ("---\na\n---\nb", "is not valid YAML"),
        ("? {a: 1}\n: 1", "unhashable key"),
        ("x" * (MAX_YAML_CHARACTERS + 1), "at most"),
    ],
)
def test_yaml_that_is_refused_at_once(text: str, message: str) -> None:
    start = time.process_time()
    with pytest.raises(ValueError, match=message) as caught:
        parse_yaml(text, "some.yaml")
    assert str(caught.value).startswith("some.yaml") and "\n" not in str(caught.value)
    assert time.process_time() - start < 5


def test_yaml_is_read_as_dvc_reads_it() -> None:
    text = "a: &a {x: 1e-4, on: on}\nb: {<<: *a, y: [1, ~]}\nc: *a\n"
    expected = {"a": {"x": 1e-4, "on": "on"}, "b": {"x": 1e-4, "on": "on", "y": [1, None]}}
    assert parse_yaml(text, "x") == {**expected, "c": expected["a"]}


def test_an_anchor_may_be_used_often() -> None:
    assert len(parse_yaml("a: &a [1, 2, 3]\nb: [" + "*a, " * 1000 + "]", "x")["b"]) == 1000
