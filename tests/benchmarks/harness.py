"""Ours against a named peer: alternated in one run, medians, results compared, peaks of memory in fresh processes.

Each row says who was compared, on what, and which goal was set beforehand; a goal that was missed stays in the table. A
peer that gives another result is an error: a speed of different answers means nothing.
"""

import gc
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import torch
from threadpoolctl import threadpool_limits

NUM_THREADS = 2
MEMORY = "MiB above the inputs"
HEADING = "| case | ours | peer | who | unit | ratio | goal | results |\n|---|---|---|---|---|---|---|---|"


class NotHereError(Exception):
    """What a case needs is not on this machine."""


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What is to be reached: a ratio of ours to the peer's, above 1 where ours is better, or a value of ours."""

    least_ratio: float = 0.0
    most: float = float("inf")

    def __str__(self) -> str:
        return f"ratio >= {self.least_ratio:g}" if self.least_ratio else f"ours <= {self.most:g}"

    def is_met(self, ours: float, ratio: float | None) -> bool:
        """Whether a result reaches it."""
        return (ratio or 0.0) >= self.least_ratio and ours <= self.most


@dataclass(frozen=True, kw_only=True)
class Contest:
    """What is run on inputs that were made.

    Attributes:
        ours: Gives our result.
        peer: Gives the peer's.
        difference: Of the two results, in the units of `tolerance`.
        tolerance: Up to which they agree.
        amount: Of work in one run, for a rate.
        peer_version: Of a peer in an environment of its own.
    """

    ours: Callable[[], Any]
    peer: Callable[[], Any] | None = None
    difference: Callable[[Any, Any], float] | None = None
    tolerance: float = 0.0
    amount: float = 1.0
    peer_version: str = ""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One comparison.

    Attributes:
        title: What is done to how much.
        make: Makes inputs, of the full size or of a small one.
        goal: For time or rate.
        peer_name: Distribution that the peer comes from; empty for none.
        unit: `s`, or what is done in a second.
        memory_goal: For the peak of memory, which is measured if it is set.
    """

    title: str
    make: Callable[[bool], Contest]
    goal: Goal
    peer_name: str = ""
    unit: str = "s"
    memory_goal: Goal | None = None


@dataclass(frozen=True, kw_only=True)
class Row:
    """A result.

    Attributes:
        case: What was done to how much.
        ours: Median, in `unit`.
        peer: The peer's.
        peer_name: Distribution that it comes from.
        peer_version: Its version.
        unit: What both are in.
        ratio: How many times better ours is.
        goal: What was to be reached, and whether it was.
        n: Runs that the medians are of.
    """

    case: str
    ours: float
    peer: float | None
    peer_name: str
    peer_version: str
    unit: str
    ratio: float | None
    goal: str
    n: int


def run_cases(cases: Sequence[Case], command: Sequence[str], *, quick: bool, repeats: int) -> Iterator[tuple[Row, str]]:
    """Runs cases one after another.

    Args:
        cases: What to run.
        command: To which `--peak SIDE TITLE` is added, for the peak of memory in a new process; none are measured if
            it is empty.
        quick: Small inputs, no warming up, one thread.
        repeats: Runs that a median is of.

    Yields:
        A row, and in words how far the results agree.

    Raises:
        ValueError: A peer's result is another.
    """
    for case in cases:
        try:
            contest = case.make(quick)
        except (ImportError, NotHereError) as error:
            print(f"{case.title}: skipped, {error}")
            continue
        with threads(1 if quick else NUM_THREADS):
            times, agreement = alternate(case, contest, repeats, warm=not quick)
        values = [seconds if case.unit == "s" else contest.amount / seconds for seconds in times]
        yield row(case, values, case.unit, case.goal, repeats, contest.peer_version), agreement
        if case.memory_goal and command:
            sides = ["ours", "peer"] if case.peer_name else ["ours"]
            peaks = [fresh_peak([*command, "--peak", side, case.title]) for side in sides]
            yield row(case, peaks, MEMORY, case.memory_goal, 1, contest.peer_version), ""


def alternate(case: Case, contest: Contest, repeats: int, *, warm: bool) -> tuple[list[float], str]:
    """Median seconds of ours and, where there is one, of the peer; and how far their results agree."""
    sides = [contest.ours, contest.peer] if contest.peer else [contest.ours]
    seconds: list[list[float]] = [[] for _ in sides]
    results: list[Any] = [None] * len(sides)
    for _ in range(repeats + warm):
        for index, side in enumerate(sides):
            start = time.perf_counter()
            results[index] = side()
            seconds[index].append(time.perf_counter() - start)
    times = [median(each[int(warm) :]) for each in seconds]
    if not contest.difference:
        return times, ""
    difference = contest.difference(*results)
    if not difference <= contest.tolerance:
        raise ValueError(f"{case.title}: results differ by {difference:g}, more than {contest.tolerance:g}: {results}")
    return times, f"results differ by {difference:.1g}, at most {contest.tolerance:g}"


def row(case: Case, values: Sequence[float], unit: str, goal: Goal, n: int, peer_version: str = "") -> Row:
    """A row of the values of ours and, where there is one, of the peer, by default as installed here."""
    ours, peer = values[0], values[1] if len(values) > 1 else None
    ratio = None if peer is None else ours / peer if unit.endswith("/s") else peer / ours
    return Row(
        case=case.title,
        ours=ours,
        peer=peer,
        peer_name=case.peer_name,
        peer_version=peer_version or (version(case.peer_name) if case.peer_name else ""),
        unit=unit,
        ratio=ratio,
        goal=f"{goal}, {'met' if goal.is_met(ours, ratio) else 'missed'}",
        n=n,
    )


@contextmanager
def threads(count: int) -> Iterator[None]:
    """So many threads in torch and in the libraries of numpy and scipy, whatever the environment says."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        with threadpool_limits(count):
            yield
    finally:
        torch.set_num_threads(before)


def fresh_peak(command: Sequence[str]) -> float:
    """MiB that a new process prints last."""
    printed = subprocess.run([sys.executable, *command], check=True, capture_output=True, text=True).stdout
    return float(printed.split()[-1])


def peak_mib(function: Callable[[], Any]) -> float:
    """How far the resident memory of this process rises while a function runs, at least 1; Linux only."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    result = function()
    peak = _status("VmHWM")
    del result
    return max(1.0, (peak - before) / 1024)


def as_json(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Rows ready for JSON, numbers rounded to four digits."""
    return [
        {name: float(f"{value:.4g}") if isinstance(value, float) else value for name, value in asdict(each).items()}
        for each in rows
    ]


def table_line(each: Row, agreement: str) -> str:
    """A row of the printed table."""
    peer = "-" if each.peer is None else f"{each.peer:.3g}"
    ratio = "-" if each.ratio is None else f"{each.ratio:.3g}"
    name = f"{each.peer_name} {each.peer_version}".strip() or "-"
    return f"| {each.case} | {each.ours:.3g} | {peer} | {name} | {each.unit} | {ratio} | {each.goal} | {agreement} |"


def _status(field: str) -> int:
    """A field of `/proc/self/status`, in KiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1])
    raise AssertionError(f"no {field} in /proc/self/status")
