"""What decides a result beside inputs and settings: the code that makes it, and the libraries that the code imports."""

import ast
import functools
import importlib.metadata
import sys
from pathlib import Path

from pipelines.shared.files import digest_file, digest_json

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("pipelines", "models", "metrics")
DISTRIBUTIONS = {
    "PIL": "pillow",
    "fasttext": "fasttext-predict",
    "grpc": "grpcio",
    "open_clip": "open-clip-torch",
    "ruamel": "ruamel.yaml",
}


def code_identity(*modules: str) -> str:
    """Digest of modules of ours, of all of ours that they import, of the libraries' versions and of Python's.

    Args:
        *modules: Full names, such as `pipelines.shared.packing`; plug-ins, which no import shows, among them.
    """
    files, libraries = imported_code(modules)
    versions = {name: library_version(name) for name in libraries}
    digests = {path.relative_to(ROOT).as_posix(): digest_file(path) for path in files}
    return digest_json([list(sys.version_info[:2]), digests, versions])


def imported_code(modules: tuple[str, ...]) -> tuple[list[Path], list[str]]:
    """Files of modules and of all of ours that they import, directly or not, and names of the libraries they import."""
    waiting = [path for name in modules for path in _files(name)]
    assert waiting or not modules, f"{modules} are not modules of {', '.join(PACKAGES)}"
    files: set[Path] = set()
    libraries: set[str] = set()
    while waiting:
        path = waiting.pop()
        if path in files:
            continue
        files.add(path)
        for name in _imported_names(path.read_bytes()):
            top = name.partition(".")[0]
            if top in PACKAGES:
                waiting += _files(name)
            elif top not in sys.stdlib_module_names:
                libraries.add(top)
    return sorted(files), sorted(libraries)


def library_version(name: str) -> str:
    """Version of the library that a name is imported from; empty if it is not installed."""
    try:
        return importlib.metadata.version(DISTRIBUTIONS.get(name, name))
    except importlib.metadata.PackageNotFoundError:
        return ""


@functools.cache
def _imported_names(code: bytes) -> frozenset[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(names)


def _files(name: str) -> list[Path]:
    """The file of a module, or of a package's `__init__`; none for a name that a module defines."""
    base = ROOT / name.replace(".", "/")
    return [path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()]
