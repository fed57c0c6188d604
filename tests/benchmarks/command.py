"""The command line of a benchmark: runs its cases, prints a table, writes the same as JSON."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipelines.shared.files import write_json
from tests.benchmarks.harness import HEADING, NUM_THREADS, Case, as_json, peak_mib, run_cases, table_line, threads


def command(cases: Sequence[Case], out: Path, module: str, about: str, arguments: Sequence[str] | None) -> None:
    """Runs the cases that are asked for.

    Args:
        cases: All cases of the benchmark.
        out: Where the rows go.
        module: Name of the benchmark's module, which is started anew to measure a peak of memory.
        about: What `--help` says.
        arguments: Of the command line; those of this process if None.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=about)
    parser.add_argument("--quick", action="store_true", help="small inputs, one run, no peaks of memory")
    parser.add_argument("--only", default="", help="only cases whose title contains this")
    parser.add_argument("--repeats", type=int, default=3, help="runs that a median is of")
    parser.add_argument("--peak", nargs=2, metavar=("SIDE", "TITLE"), help="print the peak of `ours` or `peer`")
    given: Any = parser.parse_args(arguments)
    if given.peak:
        print(_peak(cases, *given.peak))
        return
    print(HEADING)
    rows = []
    chosen = [case for case in cases if given.only in case.title]
    again = () if given.quick else ("-m", module)
    for found, agreement in run_cases(chosen, again, quick=given.quick, repeats=1 if given.quick else given.repeats):
        print(table_line(found, agreement), flush=True)
        rows.append(found)
    write_json(out, as_json(rows))


def _peak(cases: Sequence[Case], side: str, title: str) -> float:
    """MiB above the inputs of one side of a case, in this process."""
    (case,) = [case for case in cases if case.title == title]
    contest = case.make(False)
    with threads(NUM_THREADS):
        return peak_mib(getattr(contest, side))
