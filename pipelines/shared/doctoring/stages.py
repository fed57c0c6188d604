"""Checks of the stages in `dvc.yaml`: what switches off DVC's run cache, ties it to a machine, or makes it slow.

DVC's run cache takes up a stage again only if it has dependencies, a cached output, no output with `persist`, and does
not always count as changed (`dvc/stage/cache.py`). DVC rewrites `dvc.lock` after each stage, so that its time grows
faster than the number of stages.
"""

import re
from collections import defaultdict
from collections.abc import Iterator

from pipelines.shared.doctoring.entries import DVC_FILE, Stage, at, overlap
from pipelines.shared.doctoring.findings import Finding
from pipelines.shared.doctoring.project import Project

MAX_STAGES = 100
KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")
ABSOLUTE = re.compile(r"(?:^|[\s=,'\"])((?:~?/|[A-Za-z]:\\)[^\s'\",]+)")
SYSTEM = ("/dev/", "/bin/", "/usr/bin/")
MOMENT = re.compile(
    r"(?:\$\(|`)\s*(?:date|hostname|mktemp|pwd|uuidgen|whoami)\b|\$\{?(?:HOME|HOSTNAME|PWD|RANDOM|SECONDS|USER)\b|\$\$"
    r"|\b20\d\d-?[01]\d-?[0-3]\d[T_ -]?[0-2]\d:?[0-5]\d"
)


def resolving(project: Project) -> Iterator[Finding]:
    """What DVC itself could not read."""
    yield from project.problems


def kept_outputs(project: Project) -> Iterator[Finding]:
    """Outputs with `persist: true`."""
    for stage in project.templates:
        for out in stage.outs:
            if out.persist:
                yield Finding(
                    "D02",
                    at(out.line),
                    f"{stage.name} keeps {out.path} between runs (persist): the stage has no run cache, and files of "
                    "other settings stay in the output",
                    "remove persist and keep unfinished work in an ignored folder named by the digest of its settings",
                )


def run_cache(project: Project) -> Iterator[Finding]:
    """Stages that the run cache never takes up again."""
    for stage in project.templates:
        if not any(out.cached for out in stage.outs):
            what = "all its outputs have cache: false" if stage.outs else "it has no output"
            yield Finding(
                "D03",
                stage.place,
                f"{stage.name} is never taken from the run cache: {what}",
                "give it one cached output, such as the folder with the details behind the score",
            )
        if stage.always_changed:
            yield Finding(
                "D04",
                stage.place,
                f"{stage.name} has always_changed: it and all behind it run every time",
                "depend on a small file that says what the outside was, and rewrite that file when it changes",
            )
        if not stage.deps:
            yield Finding(
                "D07",
                stage.place,
                f"{stage.name} has no dependency: changed code never runs it again, and it has no run cache",
                "declare its module and what it reads under deps",
            )


def overlapping_outputs(project: Project) -> Iterator[Finding]:
    """Outputs that are, or lie in, an output of another stage."""
    outputs = [(out, stage) for stage in project.stages for out in stage.outs]
    open_folders: list[tuple[str, Stage]] = []
    for out, stage in sorted(outputs, key=lambda each: each[0].path.split("/")):
        open_folders = [(path, other) for path, other in open_folders if overlap(path, out.path)]
        for path, other in open_folders:
            if other is not stage:
                yield Finding(
                    "D05",
                    at(out.line),
                    f"{out.path} of {stage.name} and {path} of {other.name} overlap: the stage that runs later removes "
                    "what the other wrote",
                    "give each stage a folder of its own",
                )
        open_folders.append((out.path, stage))


def cached_numbers(project: Project) -> Iterator[Finding]:
    """Metrics and plots that are in the cache in place of git."""
    for stage in project.templates:
        for out in stage.outs:
            if out.kind != "outs" and out.cached:
                yield Finding(
                    "D06",
                    at(out.line),
                    f"{out.path} is among the {out.kind} of {stage.name} and cached: a clone without the cache has no "
                    "history of it to compare with",
                    "set cache: false and commit it, if it is small and its history matters",
                )


def too_many(project: Project) -> Iterator[Finding]:
    """More stages than DVC handles quickly."""
    if len(project.stages) > MAX_STAGES:
        counts: dict[str, int] = defaultdict(int)
        for stage in project.stages:
            counts[stage.group] += 1
        largest = max(counts, key=lambda name: counts[name])
        yield Finding(
            "D08",
            DVC_FILE,
            f"{len(project.stages)} stages, {counts[largest]} of them {largest}: more than {MAX_STAGES}; DVC runs one "
            "after another and writes all of dvc.lock after each",
            "let one stage do many items in parallel inside",
        )


def unsafe_keys(project: Project) -> Iterator[Finding]:
    """Keys of instances that mean something else to a template, a stage's address or a shell."""
    for stage in project.stages:
        group, sign, key = stage.name.partition("@")
        if sign and not KEY.fullmatch(key):
            yield Finding(
                "D09",
                stage.place,
                f"the key {key!r} of {group} has other characters than letters, digits, - and _: DVC reads a dot or "
                "bracket as a level of the settings, @ and : as part of a stage's address, and shells split the rest",
                "rename it in kebab-case",
            )


def bound_to_here(project: Project) -> Iterator[Finding]:
    """Absolute paths and moments in what decides a stage's identity."""
    seen = set()
    for stage in project.stages:
        texts = [(command, stage.line, "command") for command in stage.commands]
        texts += [(dep, line, "dependency") for dep, line in stage.deps]
        texts += [(out.path, out.line, "output") for out in stage.outs]
        for text, line, kind in texts:
            found = [path for path in ABSOLUTE.findall(text) if not path.startswith(SYSTEM)]
            found += [match[0] for match in MOMENT.finditer(text)]
            if found and (line, *found) not in seen:
                seen.add((line, *found))
                yield Finding(
                    "D10",
                    at(line),
                    f"a {kind} of {stage.name} has {', '.join(found)}: the run cache's key and the result then belong "
                    "to one machine or one moment",
                    "use paths from the project's root, and settings for what varies",
                )


def missing_dependencies(project: Project) -> Iterator[Finding]:
    """Dependencies that are not there and that no stage makes."""
    seen = set()
    for stage in project.stages:
        for dep, line in stage.deps:
            if (line, dep) in seen or "://" in dep or (project.root / dep).exists() or project.makers(dep):
                continue
            seen.add((line, dep))
            if not _imported(project, dep):
                yield Finding(
                    "D11",
                    at(line),
                    f"{stage.name} depends on {dep}, which does not exist and which no stage makes",
                    "correct the path, or remove it from deps",
                )


def _imported(project: Project, path: str) -> bool:
    """Whether a `.dvc` file brings a path, or a folder above it."""
    parts = path.split("/")
    return any((project.root / ("/".join(parts[:count]) + ".dvc")).is_file() for count in range(1, len(parts) + 1))
