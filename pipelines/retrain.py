"""Command `retrain`: the scheduled job. Look at the sources again, rebuild what changed, let gates decide, report.

    vignette retrain                        what changed since the last time, to the end
    vignette retrain --dry-run              only tell what that would be
    vignette retrain --time-budget-min 120  start nothing more after two hours; exits with 3 if not all was done

Each step does what is not done yet, as the files on disk tell, so a run that was killed goes on where it was, and a run
with nothing to do ends at once. A verdict is a result and no error: the exit status is 0 whatever the gates say. It is
`vignette promote` that puts a challenger in use.
"""

import argparse
import math
import os
import sys
import time
from collections.abc import Mapping
from typing import Any

from pipelines.record import record
from pipelines.refresh import refresh
from pipelines.repro import OutOfTimeError, outdated, repro, whole_graph
from pipelines.shared.champions import require_whole
from pipelines.shared.gate_files import summary
from pipelines.shared.gate_scoring import outlook, read_contest, settle
from pipelines.shared.gate_settings import read_settings
from pipelines.shared.params import load_params
from pipelines.shared.stage import one_line_errors, setup_logging, single_run

REPORT = "report"
NOT_DONE = 3


def retrain(params: Mapping[str, Any], jobs: int, deadline: float, *, look: bool) -> tuple[list[str], list[str]]:
    """Run all steps.

    Args:
        params: All of `params.yaml`.
        jobs: Stages at a time.
        deadline: On the monotonic clock; later than that neither a stage nor a gate is started.
        look: Whether to look at the sources first.

    Returns:
        What was done, a line each, nothing where there was nothing to do; and why sources could not be looked at, which
        does not keep the others waiting.

    Raises:
        ValueError: A step failed.
        OutOfTimeError: The deadline came first.
    """
    gates = read_settings(params)[1]
    require_whole(gates)
    found = refresh() if look else ()
    for source in found:
        say(str(source))
    count = repro(jobs, without=(REPORT,), deadline=deadline)
    verdicts = [line for gate in gates if (line := decided(params, gate, deadline))]
    records = record()
    count += repro(jobs, deadline=deadline)
    changed = [str(source) for source in found if source.is_noted]
    done = [f"stages: {count} run"] * bool(count) + [f"records: {records} appended"] * bool(records)
    return [*changed, *verdicts, *done], [f"{source.source}: {source.problem}" for source in found if source.problem]


def decided(params: Mapping[str, Any], gate: str, deadline: float) -> str:
    """Let a gate decide, if it has not; the line for the summary."""
    contest = read_contest(params, gate)
    if contest.is_decided:
        return ""
    if time.monotonic() >= deadline:
        raise OutOfTimeError(f"all stages but {REPORT} are done, gate {gate} has not decided")
    say(f"gate {gate}: scoring")
    return f"{gate}: {summary(settle(contest))}"


def plan(params: Mapping[str, Any], *, look: bool) -> list[str]:
    """What a run would do; nothing is written."""
    gates = read_settings(params)[1]
    require_whole(gates)
    found = refresh(dry_run=True) if look else ()
    lines = [f"{source}{f' ({source.problem})' if source.problem else ''}" for source in found]
    stages = outdated()[1]
    if changed := [f"crawl@{source.source}" for source in found if source.is_noted]:
        stages |= whole_graph().affected(changed)
    lines.append(f"stages to run: {', '.join(sorted(stages)) or 'none'}")
    for gate, entry in gates.items():
        waits = f"evaluate@{entry.evaluation}" in stages
        lines.append(f"gate {gate}: {'decides after these' if waits else outlook(read_contest(params, gate))}")
    return lines


def say(text: str) -> None:
    """A line of progress."""
    sys.stderr.write(f"retrain: {text}\n")
    sys.stderr.flush()


def main() -> None:
    """Command line; exits with 3 if the time budget ended the run."""
    parser = argparse.ArgumentParser(
        prog="vignette retrain",
        description="Look at the sources again, rebuild and retrain what changed, let gates decide, report.",
        epilog="Exits with 0 whatever the gates decide, with 3 if the time budget ended the run, with 1 if it failed; "
        "in both cases the same command goes on from there.",
    )
    parser.add_argument("--dry-run", action="store_true", help="only tell what would be done")
    parser.add_argument("--no-refresh", action="store_true", help="leave sources.lock as it is")
    parser.add_argument("--time-budget-min", type=float, metavar="M", help="start nothing after M minutes; 0: no limit")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="stages at a time (default: all cores)")
    arguments = parser.parse_args()
    setup_logging()
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    start = time.monotonic()
    with one_line_errors("retrain"), single_run("retrain"):
        params, look = load_params(), not arguments.no_refresh
        if arguments.dry_run:
            sys.stdout.write("".join(f"{line}\n" for line in plan(params, look=look)))
            return
        try:
            deadline = start + budget_sec(params, arguments)
            lines, problems = retrain(params, positive(arguments.jobs), deadline, look=look)
        except OutOfTimeError as error:
            sys.stderr.write(f"vignette retrain: time is up: {error}; the same command goes on from here\n")
            sys.exit(NOT_DONE)
        unchanged = "Nothing to do: no change was noticed, all stages are up to date, all gates have decided."
        sys.stdout.write("".join(f"{line}\n" for line in lines or [unchanged]))
        if problems:
            raise ValueError(f"not all sources could be looked at, the rest was done: {'; '.join(problems)}")


def positive(jobs: int) -> int:
    """The number of jobs, once it was checked."""
    if jobs < 1:
        raise ValueError(f"--jobs must be at least 1, got {jobs}")
    return jobs


def budget_sec(params: Mapping[str, Any], arguments: argparse.Namespace) -> float:
    """Seconds that a run has: of the command line, else of `params.yaml`."""
    given = arguments.time_budget_min
    minutes = read_settings(params)[0].time_budget_min if given is None else given
    if not 0 <= minutes < math.inf:
        raise ValueError(f"--time-budget-min must be at least 0, got {minutes}")
    return minutes * 60 or math.inf


if __name__ == "__main__":
    main()
