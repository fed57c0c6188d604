"""Checks of what templates use: a setting that shapes a stage but is not tracked by it.

DVC resolves `${...}` from `vars` and `params.yaml`, and tracks none of it: a changed value is noticed only where the
command, a path or a tracked setting changes with it. `dvc params diff` and `dvc exp show` do not know of the others.
"""

from collections import defaultdict
from collections.abc import Iterator

from pipelines.shared.doctoring.entries import Stage
from pipelines.shared.doctoring.findings import Finding
from pipelines.shared.doctoring.project import Project


def untracked_settings(project: Project) -> Iterator[Finding]:
    """Settings that a stage's template uses, from a file that the stage neither tracks nor depends on."""
    found: dict[tuple[str, int, str], dict[str, None]] = defaultdict(dict)
    for stage in project.stages:
        for file, keys in stage.tracked.items():
            for key in keys:
                if not tracks(stage, file, key):
                    found[stage.group, stage.line, file][key] = None
    for (group, line, file), names in found.items():
        shown = ", ".join(list(names)[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        yield Finding(
            "D24",
            f"dvc.yaml:{line}",
            f"the template of {group} uses {shown} of {file}, which the stage does not track: where the stage reads "
            "the value as well, a change goes unnoticed",
            f"name it under params of {group}",
        )


def tracks(stage: Stage, file: str, key: str) -> bool:
    """Whether a stage tracks a setting, a level above it, or the file."""
    if stage.declares(file):
        return True
    return file in stage.params and covers(stage.params[file], key)


def covers(declared: tuple[str, ...], key: str) -> bool:
    """Whether declared settings, none for all of a file, have a key or a level above it."""
    return not declared or any(key == name or key.startswith(name + ".") for name in declared)
