"""The speed of filters and of the search for duplicates: `python -m tests.benchmarks.data`.

Writes `reports/bench/data.json` and prints the same as a table. Peers run in `.venv-peers`; a case whose peer is not
there is left out with a message.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipelines.shared.files import write_json
from tests.benchmarks.data_contests import many_hashes, pictures_and_peer, rules_alone, rules_and_peer
from tests.benchmarks.harness import (
    HEADING,
    NUM_THREADS,
    Case,
    Goal,
    Row,
    as_json,
    peak_mib,
    run_cases,
    table_line,
    threads,
)

OUT = Path("reports/bench/data.json")
MODULE = "tests.benchmarks.data"
CASES = (
    Case(
        title="Words, side, aspect and best 30 % on 1,000,000 rows, one core",
        make=rules_alone,
        goal=Goal(most=1),
    ),
    Case(
        title="Words, side, aspect and best 30 % on 100,000 rows",
        make=rules_and_peer,
        peer_name="py-data-juicer",
        goal=Goal(least_ratio=10),
    ),
    Case(
        title="Pairs within 4 bits of 1,000,000 hashes",
        make=many_hashes,
        goal=Goal(most=60),
        memory_goal=Goal(most=2000),
    ),
    Case(
        title="Pairs within 4 bits of the site's pictures and their halves",
        make=pictures_and_peer,
        peer_name="imagededup",
        goal=Goal(least_ratio=5),
    ),
)


def run(*, quick: bool, only: str = "", repeats: int = 3) -> list[Row]:
    """Runs the cases whose title contains `only`, printing a table; returns its rows."""
    print(HEADING)
    rows = []
    cases = [case for case in CASES if only in case.title]
    command = () if quick else ("-m", MODULE)
    for found, agreement in run_cases(cases, command, quick=quick, repeats=1 if quick else repeats):
        print(table_line(found, agreement), flush=True)
        rows.append(found)
    return rows


def peak(side: str, title: str) -> float:
    """MiB above the inputs of one side of a case, in this process."""
    (case,) = [case for case in CASES if case.title == title]
    contest = case.make(False)
    with threads(NUM_THREADS):
        return peak_mib(getattr(contest, side))


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small inputs, one run, no peaks of memory")
    parser.add_argument("--only", default="", help="only cases whose title contains this")
    parser.add_argument("--repeats", type=int, default=3, help="runs that a median is of")
    parser.add_argument("--peak", nargs=2, metavar=("SIDE", "TITLE"), help="print the peak of `ours` or `peer`")
    given: Any = parser.parse_args(arguments)
    if given.peak:
        print(peak(*given.peak))
        return
    write_json(OUT, as_json(run(quick=given.quick, only=given.only, repeats=given.repeats)))


if __name__ == "__main__":
    main()
