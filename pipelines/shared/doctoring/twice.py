"""`--twice`: run a stage in two copies of the project that differ in what must not matter, and compare its outputs.

The two runs have other hash seeds, time zones, numbers of Beam workers and folders. Outputs that measure time differ by
their nature; they are named with `--leave-out`.
"""

from collections.abc import Collection, Iterator
from contextlib import ExitStack
from pathlib import Path

from ruamel.yaml import YAML

from pipelines.shared.doctoring import copies
from pipelines.shared.doctoring.differing import first_difference
from pipelines.shared.doctoring.entries import Stage, at, within
from pipelines.shared.doctoring.findings import Finding
from pipelines.shared.doctoring.project import Project
from pipelines.shared.params import PARAMS_FILE

RUNS = (
    ("one", {"PYTHONHASHSEED": "1", "TZ": "Pacific/Auckland"}, 1),
    ("another", {"PYTHONHASHSEED": "2", "TZ": "America/St_Johns"}, 2),
)
SAYS = "hash seed, time zone, number of workers or folder"


def run_twice(project: Project, stage: Stage, left_out: Collection[str] = ()) -> list[Finding]:
    """What differs between the outputs of two runs.

    Args:
        project: The project.
        stage: The stage.
        left_out: Outputs, or files in them, that are not compared.

    Raises:
        ValueError: The stage fails.
    """
    with ExitStack() as stack:
        folders = []
        for name, environment, workers in RUNS:
            folder = stack.enter_context(copies.copied(project, stage, name))
            set_workers(folder / PARAMS_FILE, workers)
            copies.run(stage, folder, environment)
            folders.append(folder)
        return list(differences(stage, folders[0], folders[1], left_out))


def differences(stage: Stage, one: Path, another: Path, left_out: Collection[str]) -> Iterator[Finding]:
    """Files of the stage's outputs that differ between two copies, with the first difference in each."""
    for out in stage.outs:
        names = sorted(files(one, out.path) | files(another, out.path))
        for name in names:
            if any(within(name, path.rstrip("/")) for path in left_out):
                continue
            found = _difference(one / name, another / name)
            if found:
                message = f"{name} of {stage.name} depends on {SAYS}, or on chance: {found}"
                yield Finding("D80", at(out.line), message, "sort, seed, or leave out what varies, then publish again")


def files(folder: Path, path: str) -> set[str]:
    """Files of an output: the file itself, or all in the folder, relative to the copy."""
    place = folder / path
    found = [place] if place.is_file() else place.rglob("*")
    return {file.relative_to(folder).as_posix() for file in found if file.is_file()}


def set_workers(path: Path, number: int) -> None:
    """Set the number of Beam's local workers in a copy's `params.yaml`, if it has the section."""
    if path.is_file():
        editor = YAML()
        values = editor.load(path.read_text(encoding="utf-8"))
        if values.get("beam"):
            values["beam"]["direct_num_workers"] = number
            editor.dump(values, path)


def _difference(one: Path, another: Path) -> str:
    if not (one.is_file() and another.is_file()):
        return "only one of the runs wrote it"
    return first_difference(one, another)
