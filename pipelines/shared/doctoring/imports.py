"""What code a stage imports, and whether it declares it: DVC does not follow imports.

A stage is a command `python -m <module>`. Its code is that module, what it imports directly or not, and the plug-ins
that it loads by name: `plugin_config("<package>", ...)` takes the name of a plug-in from params.yaml, so the stage
declares the package's folder or the one plug-in of its instance. Plug-ins that come with a run (`plugin(...)` in
`pipelines/shared/runs.py`) are not asked for: a run's `config.json` has the digest of their code.
"""

import ast
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath

from pipelines.shared.doctoring.entries import Stage
from pipelines.shared.doctoring.findings import Finding
from pipelines.shared.doctoring.project import Project

LOADER = "plugin_config"
INIT = "__init__.py"
PYTHON = re.compile(r"python[\d.]*")


@dataclass(frozen=True, slots=True)
class Source:
    """What one file refers to.

    Attributes:
        imported: The project's files that it imports, `__init__.py` of their packages included.
        packages: Packages whose plug-ins it loads by name.
        empty: Whether it has a docstring at most.
    """

    imported: frozenset[str]
    packages: frozenset[str]
    empty: bool


@dataclass
class Code:
    """The project's Python files, each read once."""

    root: Path
    sources: dict[str, Source] = field(default_factory=dict)

    @cached_property
    def packages(self) -> frozenset[str]:
        """Python packages in the project's root."""
        return frozenset(file.parent.name for file in self.root.glob(f"*/{INIT}"))

    def file(self, module: str) -> str | None:
        """The project's file of a module, if it is one of the project's."""
        if module.partition(".")[0] not in self.packages:
            return None
        base = module.replace(".", "/")
        candidates = (f"{base}.py", f"{base}/{INIT}")
        return next((name for name in candidates if (self.root / name).is_file()), None)

    def source(self, file: str) -> Source:
        """What a file refers to.

        Raises:
            ValueError: It is not Python.
        """
        if file not in self.sources:
            self.sources[file] = self._read(file)
        return self.sources[file]

    def closure(self, *files: str) -> set[str]:
        """These files and all that they import, directly or not."""
        seen: set[str] = set()
        waiting = list(files)
        while waiting:
            file = waiting.pop()
            if file not in seen:
                seen.add(file)
                waiting += self.source(file).imported
        return seen

    def _read(self, file: str) -> Source:
        content = (self.root / file).read_bytes()
        try:
            tree = ast.parse(content, filename=file)
        except SyntaxError as error:
            raise ValueError(f"{file}:{error.lineno} is not Python: {error.msg}") from error
        names: set[str] = set()
        for node in _statements(tree):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names |= _from_import(node, file)
        modules = {module for name in names for module in _with_parents(name)}
        found = {name for module in modules if (name := self.file(module)) and name != file}
        packages = _loaded_by_name(tree) if LOADER.encode() in content else frozenset()
        return Source(frozenset(found), packages, _is_empty(tree))


@dataclass(frozen=True)
class StageCode:
    """The code of a stage as written in `dvc.yaml`, and what of it is not declared."""

    code: Code
    stage: Stage
    module: str

    @cached_property
    def start(self) -> str | None:
        """The file of the module that it runs."""
        return self.code.file(self.module)

    @cached_property
    def plugins(self) -> dict[str, list[str]]:
        """Plug-in files that are declared, by package that the stage loads plug-ins of."""
        packages = self._packages(self.code.closure(self.start)) if self.start else set()
        return {package: self._declared_plugins(package) for package in sorted(packages)}

    @cached_property
    def undeclared(self) -> list[str]:
        """Files that it imports and does not declare, files of packages with nothing but a docstring left out."""
        if self.start is None:
            return []
        plugins = {file for files in self.plugins.values() for file in files}
        files = self.code.closure(self.start, *plugins) - plugins
        return sorted(file for file in files if not self.stage.declares(file) and not self._says_nothing(file))

    def _says_nothing(self, file: str) -> bool:
        return is_init(file) and self.code.source(file).empty

    def _packages(self, files: set[str]) -> set[str]:
        return {package for file in files for package in self.code.source(file).packages}

    def _declared_plugins(self, package: str) -> list[str]:
        """Plug-ins of a package whose folder or file is declared; `${...}` stands for any name."""
        folder = package.replace(".", "/")
        files = sorted(
            path.relative_to(self.code.root).as_posix()
            for path in (self.code.root / folder).glob("*.py")
            if path.name != INIT
        )
        patterns = [re.sub(r"\\\$\\{.*?\\}", "[^/]+", re.escape(dep)) for dep, _ in self.stage.deps]
        return [
            file
            for file in files
            if self.stage.declares(file) or any(re.fullmatch(pattern, file) for pattern in patterns)
        ]


def stage_codes(project: Project) -> Iterator[StageCode]:
    """The code of each stage that is a command `python -m <module>` of the project's."""
    code = Code(project.root)
    for stage in project.templates:
        for command in stage.commands:
            module = module_of(command)
            if module and (project.root / module.split(".")[0]).is_dir():
                yield StageCode(code, stage, module)


def undeclared_code(project: Project) -> Iterator[Finding]:
    """Code that a stage reads and does not declare."""
    for each in stage_codes(project):
        stage = each.stage
        if each.start is None:
            message = f"{stage.name} runs {each.module}, which does not exist"
            yield Finding("D22", stage.place, message, "correct the command")
            continue
        for code, what, files in (
            ("D20", "", [file for file in each.undeclared if not is_init(file)]),
            ("D21", "packages with code in ", [file for file in each.undeclared if is_init(file)]),
        ):
            if files:
                yield Finding(
                    code,
                    stage.place,
                    f"{stage.name} imports {what}{', '.join(files)}, and does not declare it: a change does not run "
                    "the stage again",
                    f"add it to deps of {stage.name}",
                )
        for package, files in each.plugins.items():
            if not files:
                yield Finding(
                    "D23",
                    stage.place,
                    f"{stage.name} loads plug-ins of {package} by name and declares none: no import shows them",
                    f"add the package's folder, or the file of the instance's plug-in, to deps of {stage.name}",
                )


def module_of(command: str) -> str | None:
    """The module of a command `python -m <module> ...`."""
    try:
        words = shlex.split(command)
    except ValueError:
        return None
    is_module = len(words) > 2 and PYTHON.fullmatch(PurePosixPath(words[0]).name) and words[1] == "-m"
    return words[2] if is_module else None


def is_init(file: str) -> bool:
    """Whether a file is a package's `__init__.py`."""
    return PurePosixPath(file).name == INIT


def _statements(tree: ast.AST) -> Iterator[ast.stmt]:
    """All statements, at any depth."""
    for part in ("body", "orelse", "finalbody", "handlers", "cases"):
        for node in getattr(tree, part, ()):
            if isinstance(node, ast.stmt):
                yield node
            yield from _statements(node)


def _loaded_by_name(tree: ast.Module) -> frozenset[str]:
    """Packages that `plugin_config` is called with: a string, or the name of a constant of the file."""
    constants = {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args and isinstance(node.func, ast.Name) and node.func.id == LOADER:
            first = node.args[0]
            found.add(constants.get(first.id) if isinstance(first, ast.Name) else getattr(first, "value", None))
    return frozenset(name for name in found if isinstance(name, str))


def _from_import(node: ast.ImportFrom, file: str) -> set[str]:
    """Names of modules that `from x import y` may mean."""
    package = list(PurePosixPath(file).parent.parts)[: -node.level + 1 or None] if node.level else []
    base = ".".join([*package, *([node.module] if node.module else [])])
    return {base, *(f"{base}.{alias.name}" for alias in node.names)} if base else {alias.name for alias in node.names}


def _with_parents(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts) + 1)]


def _is_empty(tree: ast.Module) -> bool:
    return all(isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) for node in tree.body)
