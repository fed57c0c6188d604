"""Names of instances in `params.yaml`, such as the source `emoji`: one form that every program reads as one name.

A name becomes a folder, an argument of a command, an instance of a DVC stage and a part of `dvc exp run -S
sources.<name>.module=...`. A full stop there separates levels; a digit first is no name for `-S`; `on` is a truth
value for `-S`, which reads YAML 1.1; `../x` is another folder, `-x` an option, `con` a device, and `A` and `a` are one
folder on some file systems.
"""

import datetime
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")
FORM = "a lower-case letter, then lower-case letters, digits, - and _, 63 characters at most"
MAX_SHOWN = 60
TRUTH_VALUES = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}
MAX_WHOLE_NUMBER = 2**64
DEVICES = {"con", "prn", "aux", "nul", *(f"{kind}{number}" for kind in ("com", "lpt") for number in range(10))}
SECTIONS = (
    "sources",
    "annotators",
    "filters",
    "packs",
    "repacks",
    "recaptions",
    "models",
    "stacked",
    "metrics",
    "evaluations",
    "references",
)
"""Sections whose keys are names."""
SHARED = (("packs", "repacks"), ("models", "stacked"), ("evaluations", "references"))
"""Sections whose instances are published in one folder."""


def check_keys(params: Mapping[str, Any], where: str) -> None:
    """Check the names of all instances, rules, captioners and gates.

    Args:
        params: All of `params.yaml`.
        where: The file, for messages.

    Raises:
        ValueError: A name is of another form, or two sections that share a folder have it.
    """
    for section in SECTIONS:
        if not isinstance(params.get(section) or {}, Mapping):
            raise ValueError(f"{where}: {section} must be a mapping of names, got {type(params[section]).__name__}")
    for place, key in _names(params):
        check_key(key, f"{where}: {place}")
    for first, second in SHARED:
        if both := sorted(set(_keys(params.get(first))) & set(_keys(params.get(second)))):
            raise ValueError(
                f"{where}: {both[0]} is in {first} and in {second}, which share a folder: give one of them another name"
            )


def check_key(key: Any, where: str) -> None:
    """Check one name.

    Raises:
        ValueError: It is of another form.
    """
    shown = repr(key) if len(repr(key)) < MAX_SHOWN else f"{repr(key)[:MAX_SHOWN]}..."
    if not isinstance(key, str) or not NAME.fullmatch(key):
        raise ValueError(f"{where}: {shown} cannot be a name here; a name is {FORM}")
    if key in TRUTH_VALUES or key in DEVICES:
        other = "a truth value or as nothing by YAML" if key in TRUTH_VALUES else "a device by some file systems"
        raise ValueError(
            f"{where}: {shown} cannot be a name here, it is read as {other}: take another, such as my-{key}"
        )


def check_values(value: Any, where: str) -> None:
    """Check that a value, read from YAML, is made of text, finite numbers, truth values, lists and mappings by text.

    Raises:
        ValueError: It is not; names the place.
    """
    for place, part in _parts(value, where):
        if isinstance(part, str):
            _check_text(part, place)
        elif isinstance(part, float) and not math.isfinite(part):
            raise ValueError(f"{place} must be a finite number, got {part}")
        elif isinstance(part, int) and abs(part) >= MAX_WHOLE_NUMBER:
            raise ValueError(f"{place} must be a whole number below 2**64")
        elif isinstance(part, datetime.date):
            raise ValueError(f"{place} is a date ({part}); in quotes it is text")
        elif not isinstance(part, bool | int | float | None):
            raise ValueError(f"{place} must be text, a number, a list or a mapping, got {type(part).__name__}")


def _parts(value: Any, place: str) -> Iterator[tuple[str, Any]]:
    """Everything in a value that is no list and no mapping, each with its place; keys too."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                raise ValueError(f"{place}: the key {key!r} is of type {type(key).__name__}; in quotes it is text")
            yield place, key
            yield from _parts(item, f"{place}.{key}" if ": " in place else f"{place}: {key}")
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _parts(item, place)
    else:
        yield place, value


def _check_text(text: str, where: str) -> None:
    """Refuse half a surrogate pair, which no file can hold."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{where}: {text[:40]!r} is not text: {error.reason}") from error


def _names(params: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every name with its place."""
    for section in SECTIONS:
        for key in _keys(params.get(section)):
            yield section, key
    for section, inner in (("filters", "rules"), ("recaptions", "captioners")):
        for key, values in _items(params.get(section)):
            for name in _keys(values.get(inner) if isinstance(values, Mapping) else None):
                yield f"{section}.{key}.{inner}", name
    retrain = params.get("retrain")
    for key in _keys(retrain.get("gates") if isinstance(retrain, Mapping) else None):
        yield "retrain.gates", key


def _keys(values: Any) -> Iterator[Any]:
    yield from (key for key, _ in _items(values))


def _items(values: Any) -> Iterator[tuple[Any, Any]]:
    yield from values.items() if isinstance(values, Mapping) else ()
