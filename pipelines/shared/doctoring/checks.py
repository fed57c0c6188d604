"""All checks of a project as it lies there; what has to run a stage is in `tracing` and `twice`."""

from collections.abc import Callable, Iterable, Iterator

from pipelines.shared.doctoring import imports, keeping, lockfile, machine, pages, stages, templating, versions
from pipelines.shared.doctoring.findings import Finding
from pipelines.shared.doctoring.project import Project

CHECKS: tuple[Callable[[Project], Iterable[Finding]], ...] = (
    stages.resolving,
    stages.kept_outputs,
    stages.run_cache,
    stages.overlapping_outputs,
    stages.cached_numbers,
    stages.too_many,
    stages.unsafe_keys,
    stages.bound_to_here,
    stages.missing_dependencies,
    imports.undeclared_code,
    templating.untracked_settings,
    versions.asked_for,
    versions.torch_pair,
    versions.combinations,
    versions.constrained,
    versions.refused_runner,
    lockfile.whole_lock,
    lockfile.stale_lock,
    lockfile.default_remote,
    keeping.kept_twice,
    keeping.kept_by_nobody,
    pages.remote_references,
    machine.room,
    machine.busy_files,
    machine.leftovers,
    machine.line_ends,
    machine.hooks,
)


def examine(project: Project) -> Iterator[Finding]:
    """What all checks find."""
    for check in CHECKS:
        yield from check(project)
