"""Command `doctor`: look for the traps that are known to bite pipelines of DVC, torch and Beam.

Without options it only reads, in about two seconds. `--trace STAGE KEY` and `--twice STAGE KEY` run a stage in copies
of the project under `.vignette/scratch/doctor`, which are removed in the end.
"""

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

from pipelines.shared.doctoring.checks import examine
from pipelines.shared.doctoring.entries import Stage
from pipelines.shared.doctoring.findings import ERROR, Finding, as_json, as_text, codes_text, ordered
from pipelines.shared.doctoring.project import Project
from pipelines.shared.params import suggestion
from pipelines.shared.stage import one_line_errors


def stage_named(project: Project, words: list[str]) -> Stage:
    """The stage of `STAGE` or `STAGE KEY`.

    Raises:
        ValueError: There is none, or the project cannot be read.
    """
    name = "@".join(words)
    stage = project.stage(name)
    if stage is None and not project.stages and project.problems:
        raise ValueError(project.problems[0].message)
    if stage is None:
        known = [each.name for each in project.stages]
        raise ValueError(f"{' '.join(words)} is not a stage of dvc.yaml{suggestion(name, known)}")
    return stage


def look(arguments: argparse.Namespace) -> Iterable[Finding]:
    """What is found: by all checks, or by running one stage."""
    project = Project(Path())
    if arguments.trace:
        from pipelines.shared.doctoring.tracing import trace

        return trace(project, stage_named(project, arguments.trace))
    if arguments.twice:
        from pipelines.shared.doctoring.twice import run_twice

        return run_twice(project, stage_named(project, arguments.twice), arguments.leave_out)
    return examine(project)


def main() -> None:
    """Command line; exits with 1 if there is an error among the findings."""
    parser = argparse.ArgumentParser(
        prog="vignette doctor",
        description="Look for traps that are known to bite DVC, torch and Beam pipelines, one line for each.",
        epilog="Exits with 1 if an error is found; warnings and notes do not fail.",
    )
    parser.add_argument("--json", action="store_true", help="findings as a JSON list")
    parser.add_argument("--ignore", action="append", default=[], metavar="CODE", help="leave out a kind; repeatable")
    parser.add_argument("--codes", action="store_true", help="list all kinds of findings and stop")
    parser.add_argument(
        "--leave-out", action="append", default=[], metavar="PATH", help="with --twice: an output that measures time"
    )
    runs = parser.add_mutually_exclusive_group()
    runs.add_argument(
        "--trace",
        nargs="+",
        metavar=("STAGE", "KEY"),
        help="run a stage in a copy of the project; report files and settings that it reads and does not declare",
    )
    runs.add_argument(
        "--twice",
        nargs="+",
        metavar=("STAGE", "KEY"),
        help="run a stage in two copies with other hash seeds, time zones and workers; report what differs",
    )
    arguments = parser.parse_args()
    if arguments.codes:
        sys.stdout.write(codes_text())
        return
    with one_line_errors("doctor"):
        findings = ordered(look(arguments), arguments.ignore)
    sys.stdout.write(as_json(findings) if arguments.json else as_text(findings))
    if any(finding.severity == ERROR for finding in findings):
        sys.exit(1)


if __name__ == "__main__":
    main()
