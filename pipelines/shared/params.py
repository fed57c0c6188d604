"""The only reader of `params.yaml`: typed, and every unknown key is refused with the nearest valid name.

YAML 1.2 by ruamel, as DVC reads it (`1e-4` is a number, `on` is a word). Lists arrive as tuples.
"""

import dataclasses
import difflib
import importlib
import pkgutil
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from pipelines.shared.documents import parse_yaml
from pipelines.shared.keys import check_keys, check_values

PARAMS_FILE = Path("params.yaml")
SECTIONS: tuple[str, ...] = (
    "scale",
    "seed",
    "num_threads",
    "beam",
    "store",
    "crawl",
    "sources",
    "annotate",
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
    "report",
    "retrain",
)
T = TypeVar("T")


def load_params(path: Path = PARAMS_FILE) -> dict[str, Any]:
    """All of `params.yaml` as plain values.

    Raises:
        ValueError: The file is missing or is not YAML, has an unknown section, a value that is no setting (a date, an
            infinity), or the name of an instance that other programs read differently (`pipelines.shared.keys`).
    """
    try:
        values = parse_yaml(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError as error:
        raise ValueError(f"{path} is missing: run this in the project's folder") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8: {error}") from error
    if not isinstance(values, Mapping):
        raise ValueError(f"{path} must be a mapping of sections, got {type(values).__name__}")
    for name in values:
        if name not in SECTIONS:
            raise ValueError(f"{path}: {name} is not a section{suggestion(name, SECTIONS)}")
    check_keys(values, str(path))
    check_values(values, str(path))
    return freeze_lists(values)


def read_value(text: str, where: str) -> Any:
    """A value from YAML text, as `params.yaml` would hold it.

    Raises:
        ValueError: It is not YAML.
    """
    value = parse_yaml(text, f"{where}: {text[:80]!r}")
    check_values(value, where)
    return freeze_lists(value)


def entry(params: Mapping[str, Any], section: str, key: str) -> dict[str, Any]:
    """One instance of a section, such as the source `emoji`.

    Raises:
        ValueError: There is no such instance.
    """
    instances = params.get(section) or {}
    if key not in instances:
        known = ", ".join(sorted(instances)) or "none"
        raise ValueError(f"params.yaml: {section}.{key} does not exist{suggestion(key, instances)}; there are: {known}")
    value = instances[key]
    if not isinstance(value, Mapping):
        raise ValueError(f"params.yaml: {section}.{key} must be a mapping, got {value!r}")
    return dict(value)


def build(cls: type[T], values: Mapping[str, Any], where: str) -> T:
    """An instance of a dataclass from settings.

    Args:
        cls: A dataclass; nested dataclass fields are built from nested mappings.
        values: The settings.
        where: Their place in `params.yaml`, for messages, such as `models.ddpm`.

    Raises:
        ValueError: A setting is unknown, missing, of a wrong type or out of range.
    """
    assert dataclasses.is_dataclass(cls), f"{cls} is not a dataclass"
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}
    for name in values:
        if name not in fields:
            raise ValueError(f"params.yaml: {where}.{name} is not a setting{suggestion(name, fields)}")
    hints = typing.get_type_hints(cls)
    arguments = {name: _checked(hints[name], value, f"{where}.{name}") for name, value in values.items()}
    missing = [name for name, field in fields.items() if name not in values and _is_required(field)]
    if missing:
        raise ValueError(f"params.yaml: {where} lacks {', '.join(missing)}")
    try:
        return cls(**arguments)
    except ValueError as error:
        raise ValueError(f"params.yaml: {where}: {error}") from error


def plugin(package: str, name: str, where: str) -> ModuleType:
    """The plug-in module `package.name`.

    Raises:
        ValueError: There is no such module, with the names that there are.
    """
    known = plugin_names(package)
    if name not in known:
        raise ValueError(
            f"params.yaml: {where}.module: {package} has no {name!r}{suggestion(name, known)}; there are: "
            + ", ".join(known)
        )
    return importlib.import_module(f"{package}.{name}")


def plugin_files(plugins: Iterable[Any]) -> tuple[Path, ...]:
    """Files of the project that plug-ins read, each once; a plug-in that reads none need not have `files()`."""
    return tuple(dict.fromkeys(path for each in plugins for path in getattr(each, "files", tuple)()))


def plugin_names(package: str) -> tuple[str, ...]:
    """Names of all plug-in modules of a package, sorted."""
    folder = importlib.import_module(package).__path__
    return tuple(sorted(module.name for module in pkgutil.iter_modules(folder) if not module.ispkg))


def plugin_config(package: str, values: Mapping[str, Any], where: str) -> tuple[ModuleType, Any]:
    """The plug-in module that an entry names, and its `Config` from the rest of the entry."""
    if "module" not in values:
        raise ValueError(f"params.yaml: {where} lacks module; there are: {', '.join(plugin_names(package))}")
    module = plugin(package, values["module"], where)
    return module, build(module.Config, {name: value for name, value in values.items() if name != "module"}, where)


def split_settings(cls: type[T], values: Mapping[str, Any], where: str) -> tuple[T, dict[str, Any]]:
    """The stage's own settings of an entry, and the rest, which belongs to the plug-in."""
    assert dataclasses.is_dataclass(cls), f"{cls} is not a dataclass"
    names = {field.name for field in dataclasses.fields(cls)}
    own = {name: value for name, value in values.items() if name in names}
    return build(cls, own, where), {name: value for name, value in values.items() if name not in names}


def suggestion(name: str, known: Iterable[str]) -> str:
    """` (did you mean x?)` where a known name is near, else an empty string."""
    near = difflib.get_close_matches(str(name), [str(candidate) for candidate in known], n=1)
    return f" (did you mean {near[0]}?)" if near else ""


def freeze_lists(value: Any) -> Any:
    """Lists as tuples, at every depth."""
    if isinstance(value, Mapping):
        return {key: freeze_lists(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return tuple(freeze_lists(item) for item in value)
    return value


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _checked(hint: Any, value: Any, where: str) -> Any:
    """The value, if it fits the type hint of its field; whole numbers are accepted for floats."""
    if dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
        return build(typing.cast(type, hint), value, where)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not _fits(hint, value):
        raise ValueError(f"params.yaml: {where} must be {_spelled(hint)}, got {value!r}")
    return value


def _fits(hint: Any, value: Any) -> bool:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return True
    if origin in (typing.Union, types.UnionType):
        return any(_fits(option, value) for option in arguments)
    if origin is typing.Literal:
        return value in arguments
    if origin is tuple:
        items = arguments[:1] * len(value) if isinstance(value, tuple) and arguments[-1] is Ellipsis else arguments
        return isinstance(value, tuple) and len(value) == len(items) and all(map(_fits, items, value))
    if origin in (dict, Mapping):
        return isinstance(value, Mapping) and all(
            _fits(arguments[0], key) and _fits(arguments[1], item) for key, item in value.items()
        )
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)


def _spelled(hint: Any) -> str:
    if typing.get_origin(hint) is typing.Literal:
        return "one of " + ", ".join(str(option) for option in typing.get_args(hint))
    return str(getattr(hint, "__name__", hint)) if typing.get_origin(hint) is None else str(hint).replace("typing.", "")
