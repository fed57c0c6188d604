"""JSON and YAML files as they are read everywhere: whatever is wrong with one is a `ValueError` of one line.

Refused are bytes that are not UTF-8, numbers that are none (`NaN`, `1e999`), a key that is there twice, and nesting
that would end in a `RecursionError`. Of YAML, aliases are counted as what they stand for, so that a small file cannot
stand for billions of values ("a billion laughs"), and one that holds itself is refused.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent, NodeEvent

from pipelines.shared.files import canonical_json, digest_json, write_bytes

SEAL = "sha256"
"""The key under which a sealed document holds the digest of all its other values."""
MAX_YAML_CHARACTERS = 256 << 10
MAX_YAML_VALUES = 500_000
MAX_YAML_DEPTH = 64


def read_json(path: Path, kind: str = "JSON") -> Any:
    """The value of a JSON file.

    Args:
        path: The file.
        kind: What it should be, for messages.

    Raises:
        ValueError: It is missing or not JSON; names the file.
    """
    try:
        return parse_json(path.read_bytes(), str(path), kind)
    except FileNotFoundError as error:
        raise ValueError(f"{path} is missing") from error


def parse_json(content: bytes | str, where: str, kind: str = "JSON") -> Any:
    """A value from JSON text.

    Args:
        content: UTF-8, or text.
        where: The file, for messages.
        kind: What it should be, for messages.

    Raises:
        ValueError: It is not JSON, holds a number that is none or a key twice, or is nested too deeply.
    """
    try:
        text = content if isinstance(content, str) else content.decode()
        return json.loads(text, parse_constant=_no_number, parse_float=_finite, object_pairs_hook=_unique)
    except RecursionError:
        raise ValueError(f"{where} is not {kind}: it is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"{where} is not {kind}: {' '.join(str(error).split())}") from error


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is not a number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:40]} is too large")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} is there twice")
    return values


def json_text(value: Any) -> bytes:
    """A document as `write_json` writes it."""
    return (canonical_json(value, indent=2) + "\n").encode()


def write_sealed(path: Path, values: Mapping[str, Any]) -> None:
    """Write a JSON document that holds its own digest, atomically."""
    write_bytes(path, json_text({**values, SEAL: digest_json(values)}))


def open_sealed(path: Path, kind: str = "JSON") -> dict[str, Any]:
    """The values of a document that `write_sealed` wrote, without their digest.

    Raises:
        ValueError: The file is missing, or a byte of it is not as it was written.
    """
    values = read_json(path, kind)
    if not isinstance(values, dict):
        raise ValueError(f"{path} is not {kind}: it must be a mapping, got {type(values).__name__}")
    check_canonical(path, values)
    if SEAL not in values:
        raise ValueError(f"{path} does not hold its own {SEAL}: it is of an older version; make it again")
    if values.pop(SEAL) != digest_json(values):
        raise ValueError(f"{path} is damaged: it does not have the sha256 that it holds")
    return values


def check_canonical(path: Path, values: Any) -> None:
    """Compare a JSON file with how we write its values: white space, order, escapes.

    Raises:
        ValueError: A byte differs.
    """
    try:
        as_written = json_text(values)
    except ValueError:  # half a surrogate pair, which an escape can stand for
        as_written = b""
    if path.read_bytes() != as_written:
        raise ValueError(f"{path} is damaged: it is not written as this program writes it")


def parse_yaml(text: str, where: str, max_characters: int = MAX_YAML_CHARACTERS) -> Any:
    """A value from YAML 1.2 as DVC reads it (`1e-4` is a number, `on` is a word).

    Args:
        text: The text.
        where: The file or setting, for messages.
        max_characters: How long it may be; a parser's time may grow with the square of it.

    Raises:
        ValueError: It is not YAML, has a key twice or a tag of a programming language, or is too large: in bytes, in
            depth, or in values once every alias stands for what it names.
    """
    if len(text) > max_characters:
        raise ValueError(f"{where} has {len(text)} characters; at most {max_characters} are read")
    try:
        _check_size(text, where)
    except YAMLError as error:
        raise ValueError(f"{where} is not valid YAML: {' '.join(str(error).split())}") from error
    try:
        return YAML(typ="safe", pure=True).load(text)
    except (YAMLError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
        raise ValueError(f"{where} is not valid YAML: {' '.join(str(error).split())}") from error


def _check_size(text: str, where: str) -> None:
    """Walk through the events of YAML text, before anything is made of them."""
    anchors: dict[str, tuple[int, int]] = {}
    is_open: list[tuple[str | None, int, int]] = []  # anchor, values and depth so far of each collection not yet ended

    def add(num_values: int, depth: int) -> None:
        if len(is_open) + depth > MAX_YAML_DEPTH:
            raise ValueError(f"{where} is nested more than {MAX_YAML_DEPTH} deep")
        if is_open:
            anchor, values, deepest = is_open.pop()
            is_open.append((anchor, values + num_values, max(deepest, depth)))
            if values + num_values > MAX_YAML_VALUES:
                raise ValueError(
                    f"{where} stands for more than {MAX_YAML_VALUES} values: aliases (`*name`) of aliases multiply"
                )

    for event in YAML(typ="safe", pure=True).parse(text):
        if isinstance(event, AliasEvent):
            if any(event.anchor == anchor for anchor, _, _ in is_open):
                raise ValueError(f"{where}: *{event.anchor} stands inside what it names: such a value has no end")
            add(*anchors.get(event.anchor, (1, 0)))
        elif isinstance(event, CollectionStartEvent):
            is_open.append((event.anchor, 1, 0))
            add(0, 0)
        elif isinstance(event, CollectionEndEvent):
            anchor, values, depth = is_open.pop()
            if anchor:
                anchors[anchor] = values, depth + 1
            add(values, depth + 1)
        elif isinstance(event, NodeEvent):
            if event.anchor:
                anchors[event.anchor] = 1, 0
            add(1, 0)
