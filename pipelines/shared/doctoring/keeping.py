"""Checks of who keeps an output: exactly one of DVC's cache and git should."""

from collections.abc import Iterator, Sequence

from pipelines.shared.doctoring.entries import Output, Stage, at, within
from pipelines.shared.doctoring.findings import Finding
from pipelines.shared.doctoring.project import Project

MAX_GIT_BYTES = 1 << 20


def kept_twice(project: Project) -> Iterator[Finding]:
    """Files in git's index that are also in DVC's cache, and large ones of outputs that git keeps."""
    for stage, out in _outputs(project):
        files = sorted(file for file in project.tracked or () if within(file, out.path))
        if out.cached and files:
            yield Finding(
                "D44",
                at(out.line),
                f"{files[0]}{_more(files)} of {stage.name} is in git and in DVC's cache: DVC refuses to run the stage",
                f"git rm -r --cached {out.path}",
            )
        for file in files if not out.cached else ():
            path = project.root / file
            if path.is_file() and path.stat().st_size > MAX_GIT_BYTES:
                yield Finding(
                    "D45",
                    at(out.line),
                    f"{file} of {stage.name} is in git with {path.stat().st_size / MAX_GIT_BYTES:.1f} MiB: every "
                    "version of it stays in every clone",
                    "let DVC cache it, and keep a summary in git",
                )


def kept_by_nobody(project: Project) -> Iterator[Finding]:
    """Outputs without a keeper, or that git would take up by mistake."""
    if project.tracked is None:
        return
    there = [(stage, out) for stage, out in _outputs(project) if (project.root / out.path).exists()]
    ignored = _ignored(project, [out.path for _, out in there])
    for stage, out in there:
        if out.cached and out.path not in ignored and not any(within(file, out.path) for file in project.tracked):
            message = (
                f"{out.path} of {stage.name} is in DVC's cache and not ignored by git: `git add --all` takes it too"
            )
            yield Finding("D48", at(out.line), message, f"add /{out.path} to .gitignore")
        elif not out.cached and out.path in ignored:
            message = f"{out.path} of {stage.name} has cache: false and is ignored by git: nobody keeps it"
            yield Finding("D46", at(out.line), message, "remove cache: false, or the line in .gitignore")
        elif not out.cached and not any(within(file, out.path) for file in project.tracked):
            message = f"{out.path} of {stage.name} has cache: false and is not in git yet"
            yield Finding("D47", at(out.line), message, f"git add {out.path}")


def _outputs(project: Project) -> Iterator[tuple[Stage, Output]]:
    yield from ((stage, out) for stage in project.stages for out in stage.outs if "://" not in out.path)


def _ignored(project: Project, paths: Sequence[str]) -> set[str]:
    """Those of the paths that git ignores; a file in the index is never ignored."""
    listed = project.git("check-ignore", "--stdin", "-z", given="\0".join(paths)) if paths else None
    return set(filter(None, (listed or "").split("\0")))


def _more(files: Sequence[str]) -> str:
    return f" and {len(files) - 1} more files" if len(files) > 1 else ""
