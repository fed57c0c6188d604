"""`--trace`: run a stage in a copy of the project and compare what it reads and writes with what `dvc.yaml` says.

A file counts as declared if it is, or lies in, a dependency or an output of the stage. A run that is a dependency
stands for the runs that it builds on and for the code of its model, because its `config.json` has their digests. Not
asked for are what lies under `.vignette`; DVC's own files; `params.yaml`, of which the settings are looked at one by
one; and packages' `__init__.py` with a docstring at most. Of settings that a stage does not track, `beam` is left out,
because results do not depend on the runner.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from pipelines.shared.doctoring import copies, hook
from pipelines.shared.doctoring.entries import Stage, overlap, within
from pipelines.shared.doctoring.findings import Finding
from pipelines.shared.doctoring.imports import Code, is_init
from pipelines.shared.doctoring.project import Project
from pipelines.shared.doctoring.templating import covers
from pipelines.shared.doctoring.watching import Watch
from pipelines.shared.params import PARAMS_FILE
from pipelines.shared.runs import CONFIG_FILE
from pipelines.shared.stage import RUNS, STATE

RUNNER = "pipelines.shared.doctoring.observed"
CUSTOMIZE = "from pipelines.shared.doctoring.hook import install\n\ninstall()\n"
MODEL_CODE = "models"
NO_MODEL_CODE = "models/__init__.py"  # a run has the digest of a plug-in and of what plug-ins share, and not of this
NOT_ASKED = (str(STATE), ".dvc", ".dvcignore")
OURS = Path(__file__).resolve().parents[3]
UNNOTICED = "a change of it does not run the stage again"
UNTRACKED = frozenset({"beam"})


def trace(project: Project, stage: Stage) -> list[Finding]:
    """What a stage reads and does not declare, and writes and does not own.

    Raises:
        ValueError: The stage fails, or cannot be watched.
    """
    with copies.copied(project, stage, "trace") as folder:
        before = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        start, log = folder.parent / "start", folder.parent / "observed.jsonl"
        start.mkdir(exist_ok=True)
        (start / "sitecustomize.py").write_text(CUSTOMIZE)
        log.write_text("")
        environment = {
            "PYTHONPATH": os.pathsep.join(map(str, (start, folder, OURS))),
            "PYTHONDONTWRITEBYTECODE": "1",
            hook.LOG: str(log),
            hook.ROOT: str(folder),
        }
        watch = Watch(folder)
        try:
            copies.run(stage, folder, environment, RUNNER, tick=watch.collect)
            watch.collect(0)
        finally:
            watch.close()
        noted = [json.loads(line) for line in log.read_text().splitlines()]
        seen = Seen(noted, watch)
        reads = sorted((seen.opened & before) - seen.changed)
        return [
            *undeclared_reads(folder, stage, reads, seen),
            *undeclared_settings(stage, seen),
            *foreign_writes(stage, seen),
            *unseen(stage, watch),
        ]


class Seen:
    """What was seen of a stage's run.

    Attributes:
        opened: Files that were opened.
        changed: Files and folders that were written, made, moved or removed.
        settings: Settings that were read.
        places: Where in the project's code a file was opened or a setting read.
    """

    def __init__(self, noted: list[list[str]], watch: Watch) -> None:
        """From what the processes noted and what was watched."""
        self.opened = watch.opened | {what for kind, what, _ in noted if kind == hook.OPENED}
        self.changed = watch.changed | {what for kind, what, _ in noted if kind == hook.WROTE}
        self.settings = sorted({what for kind, what, _ in noted if kind == hook.SETTING})
        self.places = {what: place for _, what, place in noted if place}

    def place(self, what: str) -> str:
        """` at <file:line>` of the code, where it is known."""
        return f" (at {self.places[what]})" if what in self.places else ""


def undeclared_reads(folder: Path, stage: Stage, reads: list[str], seen: Seen) -> Iterator[Finding]:
    """Files that are read and not declared."""
    code, runs = Code(folder), runs_behind(folder, stage)
    declared = {*NOT_ASKED, *stage.params, *(out.path for out in stage.outs), *runs}
    for path in reads:
        if (
            stage.declares(path)
            or any(within(path, place) for place in declared)
            or path.startswith(hook.OWN)
            or (runs and within(path, MODEL_CODE) and path != NO_MODEL_CODE)
            or (is_init(path) and code.source(path).empty)
        ):
            continue
        yield Finding(
            "D70",
            stage.place,
            f"{stage.name} reads {path}{seen.place(path)}, which it does not declare: {UNNOTICED}",
            f"add {_dependency(path)} to deps of {stage.group}",
        )


def runs_behind(folder: Path, stage: Stage) -> set[str]:
    """Folders of the runs that a stage depends on, and of those that they build on."""
    waiting = [dep for dep, _ in stage.deps if within(dep, str(RUNS))]
    found: set[str] = set()
    while waiting:
        run = waiting.pop()
        config = folder / run / CONFIG_FILE
        base = json.loads(config.read_bytes()).get("base") if config.is_file() and run not in found else None
        waiting += [f"{RUNS}/{base['key']}"] if base else []
        found.add(run)
    return found


def undeclared_settings(stage: Stage, seen: Seen) -> Iterator[Finding]:
    """Settings of `params.yaml` that are read and not tracked."""
    tracked = stage.params.get(str(PARAMS_FILE))
    for name in seen.settings:
        if name in UNTRACKED or (tracked is not None and covers(tracked, name)) or stage.declares(str(PARAMS_FILE)):
            continue
        what = "every section" if name == "*" else name
        yield Finding(
            "D71",
            stage.place,
            f"{stage.name} reads {what} of {PARAMS_FILE}{seen.place(name)}, which it does not track: {UNNOTICED}",
            f"add {what} to params of {stage.group}",
        )


def foreign_writes(stage: Stage, seen: Seen) -> Iterator[Finding]:
    """What is written elsewhere than in the stage's outputs."""
    own = [*(out.path for out in stage.outs), *NOT_ASKED]
    for path in sorted(seen.changed):
        if not any(overlap(path, place) for place in own) and not _is_beside(path, own):
            yield Finding(
                "D72",
                stage.place,
                f"{stage.name} writes {path}{seen.place(path)}, which is none of its outputs: DVC does not restore it",
                f"add it to outs of {stage.group}, or write under {STATE}",
            )


def unseen(stage: Stage, watch: Watch) -> Iterator[Finding]:
    """Where the picture is not whole."""
    if not watch.complete:
        message = (
            "files that libraries open without Python (Parquet, safetensors, video) were not seen, or not all of them"
        )
        yield Finding("D73", stage.place, message, "run it on Linux, on a quiet machine")


def _is_beside(path: str, own: list[str]) -> bool:
    """Whether a path is a temporary file beside an output, which takes the output's place when it is whole."""
    name = PurePosixPath(path)
    return any(
        name.name.startswith(".") and PurePosixPath(out).name in name.name and PurePosixPath(out).parent == name.parent
        for out in own
    )


def _dependency(path: str) -> str:
    """What to declare: the file, or of data the folder that a stage makes, `data/<stage>/<key>`."""
    parts = PurePosixPath(path).parts
    return "/".join(parts[:3]) if parts[0] == "data" else "/".join(parts[:2]) if parts[0] == str(RUNS) else path
