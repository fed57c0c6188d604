"""Switch `params.yaml` to another scale: `vignette scale packages`, and back with `vignette scale debug`.

A scale is an overlay in `params/<name>.yaml` over the debug scale, merged key by key (`null` removes a key). The debug
scale itself is what `params.yaml` holds when another scale is switched on; it is kept in `.params.debug.yaml` and comes
back unchanged.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pipelines.shared.documents import parse_yaml
from pipelines.shared.files import link_or_copy, write_bytes
from pipelines.shared.params import PARAMS_FILE, load_params, suggestion
from pipelines.shared.stage import one_line_errors

OVERLAYS = Path("params")
DEBUG_COPY = Path(".params.debug.yaml")
DEBUG = "debug"


def scale_names() -> tuple[str, ...]:
    """All scales that there are."""
    return (DEBUG, *sorted(path.stem for path in OVERLAYS.glob("*.yaml")))


def switch(name: str) -> bool:
    """Make `params.yaml` hold a scale.

    Returns:
        Whether anything had to change.

    Raises:
        ValueError: There is no such scale, or what it makes of the settings is refused; `params.yaml` stays as it was.
    """
    if name not in scale_names():
        raise ValueError(f"scale {name!r} does not exist{suggestion(name, scale_names())}: {', '.join(scale_names())}")
    current = load_params().get("scale", DEBUG)
    if name == current:
        return False
    if name == DEBUG:
        PARAMS_FILE.unlink()
        link_or_copy(DEBUG_COPY, PARAMS_FILE)
        DEBUG_COPY.unlink()
        return True
    base, overlay = PARAMS_FILE if current == DEBUG else DEBUG_COPY, OVERLAYS / f"{name}.yaml"
    values = merge(_mapping(base), _mapping(overlay))
    temporary = PARAMS_FILE.with_suffix(".tmp")
    with temporary.open("w", encoding="utf-8") as handle:
        handle.write(
            f"# Written by `vignette scale {name}`; `vignette scale {DEBUG}` brings the committed scale back.\n"
        )
        writer = YAML()
        writer.default_flow_style = None
        writer.width = 120
        writer.dump({**values, "scale": name}, handle)
    try:
        load_params(temporary)
    except ValueError as error:
        temporary.unlink()
        raise ValueError(f"{base} with {overlay}: {str(error).replace(str(temporary), str(PARAMS_FILE))}") from error
    if current == DEBUG:
        write_bytes(DEBUG_COPY, PARAMS_FILE.read_bytes())
    temporary.replace(PARAMS_FILE)
    return True


def _mapping(path: Path) -> Mapping[str, Any]:
    """The settings of a YAML file."""
    try:
        values = parse_yaml(path.read_text(encoding="utf-8"), str(path))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8: {error}") from error
    if not isinstance(values, Mapping):
        raise ValueError(f"{path} must be a mapping of sections, got {type(values).__name__}")
    return values


def merge(base: Mapping[str, Any], overlay: Mapping[str, Any]) -> dict[str, Any]:
    """Overlay over base, mapping by mapping; `null` removes a key, anything else replaces it."""
    merged = dict(base)
    for key, value in overlay.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = merge(merged[key], value)
        else:
            merged[key] = value
    return merged


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="vignette scale", description="Switch params.yaml to another scale.")
    parser.add_argument("name", help=f"one of {', '.join(scale_names())}")
    arguments = parser.parse_args()
    with one_line_errors("scale"):
        changed = switch(arguments.name)
        sys.stdout.write(f"params.yaml {'is now' if changed else 'already was'} the {arguments.name} scale\n")


if __name__ == "__main__":
    main()
