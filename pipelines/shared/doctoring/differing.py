"""Two files of one name that should be equal: the first thing in which they differ."""

import hashlib
import itertools
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HEADER_FIELDS = ("size", "mtime", "mode", "uid", "gid", "uname", "gname", "type")


def first_difference(first: Path, second: Path) -> str:
    """Which tar member, Parquet column, tensor, JSON key, line or byte is the first that differs; empty if none does.

    A file that is not of the kind that its suffix says is compared as lines or bytes.
    """
    one, two = first.read_bytes(), second.read_bytes()
    if one == two:
        return ""
    compare = {
        ".tar": _members,
        ".parquet": _columns,
        ".safetensors": _tensors,
        ".json": _keys,
    }.get(first.suffix)
    try:
        found = compare(first, second) if compare else ""
    except Exception as error:  # whatever a reader makes of a damaged file, the bytes still differ
        return f"not a whole {first.suffix} file ({type(error).__name__}), {_lines_or_bytes(one, two)}"
    return found or _lines_or_bytes(one, two)


def _members(first: Path, second: Path) -> str:
    with tarfile.open(first) as one, tarfile.open(second) as two:
        for index, (here, there) in enumerate(itertools.zip_longest(one, two)):
            if here is None or there is None or here.name != there.name:
                names = [member.name if member else "nothing" for member in (here, there)]
                return f"member {index} is {names[0]} in one and {names[1]} in the other"
            for name in HEADER_FIELDS:
                if getattr(here, name) != getattr(there, name):
                    return f"member {here.name}: {name} is {getattr(here, name)} and {getattr(there, name)}"
            contents = [archive.extractfile(member) for archive, member in ((one, here), (two, there))]
            if here.isfile() and len({hashlib.sha256(each.read()).digest() for each in contents if each}) > 1:
                return f"member {here.name}: its content"
    return ""


def _columns(first: Path, second: Path) -> str:
    import pyarrow.parquet

    one, two = pyarrow.parquet.read_table(first), pyarrow.parquet.read_table(second)
    if one.column_names != two.column_names:
        return f"columns are {', '.join(one.column_names)} and {', '.join(two.column_names)}"
    if one.num_rows != two.num_rows:
        return f"{one.num_rows} and {two.num_rows} rows"
    for name in one.column_names:
        if one.schema.field(name) != two.schema.field(name):
            return f"column {name}: its type is {one.schema.field(name).type} and {two.schema.field(name).type}"
        pairs = zip(one[name].to_pylist(), two[name].to_pylist(), strict=True)
        row = next(
            (row for row, (here, there) in enumerate(pairs) if here != there and (here == here or there == there)), None
        )
        if row is not None:
            return f"column {name}, row {row}"
    return ""


def _tensors(first: Path, second: Path) -> str:
    from safetensors import safe_open

    with safe_open(first, "numpy") as one, safe_open(second, "numpy") as two:
        if found := _first_key(one.metadata() or {}, two.metadata() or {}, "metadata"):
            return found
        if set(one.keys()) != set(two.keys()):
            return f"tensor {min(set(one.keys()) ^ set(two.keys()))} is in one of them only"
        for name in sorted(one.keys()):
            here, there = one.get_tensor(name), two.get_tensor(name)
            if here.dtype != there.dtype or here.shape != there.shape or here.tobytes() != there.tobytes():
                return f"tensor {name}"
    return ""


def _keys(first: Path, second: Path) -> str:
    return _first_key(json.loads(first.read_bytes()), json.loads(second.read_bytes()), "")


def _first_key(one: Any, two: Any, where: str) -> str:
    """The place of the first difference of two JSON values; empty if there is none."""
    if isinstance(one, Mapping) and isinstance(two, Mapping):
        for name in sorted(one.keys() | two.keys()):
            inside = f"{where}.{name}" if where else name
            if name not in one or name not in two:
                return f"key {inside} is in one of them only"
            if found := _first_key(one[name], two[name], inside):
                return found
        return ""
    if isinstance(one, list) and isinstance(two, list):
        if len(one) != len(two):
            return f"key {where}: {len(one)} and {len(two)} items"
        pairs = enumerate(zip(one, two, strict=True))
        return next(filter(None, (_first_key(here, there, f"{where}[{i}]") for i, (here, there) in pairs)), "")
    return "" if one == two or (one != one and two != two) else f"key {where or 'value'}: {one!r:.40} and {two!r:.40}"


def _lines_or_bytes(one: bytes, two: bytes) -> str:
    pairs = itertools.zip_longest(one, two)
    offset = next(index for index, (here, there) in enumerate(pairs) if here != there)
    if b"\0" in one + two:
        return f"byte {offset}"
    line = one.count(b"\n", 0, offset) + 1
    return f"line {line}"
