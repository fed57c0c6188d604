"""Run a stage's module in a traced run: `python -m pipelines.shared.doctoring.observed <module> [arguments]`.

Settings note what is read of them. Scratch folders are not named by the digest of all code and settings, which would
read them all; nothing resumes in a copy.
"""

import os
import runpy
import shutil
import sys
from collections.abc import ItemsView, Iterator, KeysView, Mapping, ValuesView
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipelines.shared import params, stage
from pipelines.shared.doctoring.hook import LOG, ROOT, SETTING, Note, notes


class Settings(dict[str, Any]):
    """Settings that note what is read of them: all of `params.yaml`, or a section whose entries are mappings.

    An entry is noted when it is taken by name; the whole when it is gone through. Whether a name is there is not noted.
    """

    def __init__(self, values: Mapping[str, Any], note: Note, name: str = "") -> None:
        """The same values."""
        super().__init__(values)
        self.note, self.name = note, name

    def __getitem__(self, key: str) -> Any:
        value = super().__getitem__(key)
        name = f"{self.name}.{key}" if self.name else key
        if (
            not self.name
            and isinstance(value, Mapping)
            and value
            and all(isinstance(v, Mapping) for v in value.values())
        ):
            return Settings(value, self.note, name)
        self.note(SETTING, name)
        return value

    def get(self, key: str, default: Any = None) -> Any:
        """As of a dictionary."""
        try:
            return self[key]
        except KeyError:
            return default

    def __iter__(self) -> Iterator[str]:
        self._all()
        return super().__iter__()

    def keys(self) -> KeysView[str]:  # type: ignore[override]
        """As of a dictionary."""
        self._all()
        return super().keys()

    def values(self) -> ValuesView[Any]:  # type: ignore[override]
        """As of a dictionary."""
        self._all()
        return super().values()

    def items(self) -> ItemsView[str, Any]:  # type: ignore[override]
        """As of a dictionary."""
        self._all()
        return super().items()

    def __or__(self, other: Any) -> Any:
        return dict(self.items()) | other

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self.items()),)

    def _all(self) -> None:
        self.note(SETTING, self.name or "*")


@contextmanager
def plain_scratch(run: stage.StageRun, *identity: Any) -> Iterator[Path]:
    """Scratch of a run in a copy, which nothing resumes: its name needs no digest."""
    folder = stage.STATE / "scratch" / run.stage / run.key / "traced"
    folder.mkdir(parents=True)
    yield folder
    shutil.rmtree(folder)


def main() -> None:
    """Run a module with noting settings: `observed <module> [arguments]`."""
    load, note = params.load_params, notes(os.environ[LOG], os.environ[ROOT])

    def load_noting(path: Path = params.PARAMS_FILE) -> dict[str, Any]:
        return Settings(load(path), note)

    params.load_params = load_noting
    stage.load_params = load_noting
    stage.StageRun.scratch = plain_scratch  # type: ignore[assignment, method-assign]
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
