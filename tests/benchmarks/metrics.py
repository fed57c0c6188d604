"""The speed and memory of metrics against other libraries: `python -m tests.benchmarks.metrics`.

Writes `reports/bench/metrics.json` and prints the same as a table.
"""

import argparse
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipelines.shared.files import write_json
from tests.benchmarks.contests import cached_pairs, frechet, inception, kernel_distance, many_captions, one_caption
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

OUT = Path("reports/bench/metrics.json")
MODULE = "tests.benchmarks.metrics"
CASES = (
    *(
        Case(
            title=f"Frechet trace, d = 2048, n = {num_rows}",
            make=functools.partial(frechet, num_rows=num_rows, peer=peer),
            peer_name=peer,
            goal=goal,
        )
        for num_rows, peer, goal in (
            (5000, "torchmetrics", Goal(least_ratio=5)),
            (5000, "torch_fidelity", Goal(least_ratio=5)),
            (5000, "scipy", Goal(least_ratio=5)),
            (1000, "torch_fidelity", Goal(most=0.4)),
        )
    ),
    Case(
        title="KID of 5000 x 2048 features",
        make=kernel_distance,
        peer_name="torchmetrics",
        goal=Goal(least_ratio=2),
        memory_goal=Goal(least_ratio=1),
    ),
    Case(
        title="Recall both ways, 5000 images, 25000 texts",
        make=many_captions,
        peer_name="clip_benchmark",
        goal=Goal(least_ratio=8),
        memory_goal=Goal(most=150),
    ),
    Case(
        title="Recall both ways, 5000 images, 5000 texts",
        make=one_caption,
        peer_name="open_clip_torch",
        goal=Goal(least_ratio=8),
        memory_goal=Goal(most=150),
    ),
    Case(
        title="CLIP score of 100000 cached pairs, 1000 resamples",
        make=cached_pairs,
        goal=Goal(most=2),
    ),
    Case(
        title="Inception features of 256 px images",
        make=inception,
        peer_name="torchmetrics",
        unit="images/s",
        goal=Goal(least_ratio=1.4),
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
