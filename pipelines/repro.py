"""Run every stage that is not up to date, several at a time: `vignette repro`, or `vignette repro --jobs 4`.

`dvc repro` runs one stage after another, and most stages use one core. This command asks DVC which stages changed and
how they hang together, and gives each one, once those before it are done, to a `dvc repro --single-item` of its own.
What is run, skipped, cached and locked is DVC's business; what comes out is what `dvc repro` makes, bit by bit.
"""

import argparse
import json
import math
import os
import re
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from pipelines.shared.dvc_lock import LOCK, locked_stages
from pipelines.shared.files import write_bytes
from pipelines.shared.params import load_params
from pipelines.shared.processes import kill_me_with_parent
from pipelines.shared.programs import find_dvc, said
from pipelines.shared.reproducing import outcome_line
from pipelines.shared.stage import STATE, one_line_errors, single_run

EDGE = re.compile(r'^"(?P<before>[^"]+)"(?: -> "(?P<after>[^"]+)")?;$')
SAVED_LOCK = STATE / "dvc.lock"
DVC_FILE = ".dvc"
RWLOCK = Path(".dvc/tmp/rwlock")
REWRITTEN_SEC = 1.0


class OutOfTimeError(Exception):
    """The time was used up before everything was done; what was begun was let finish."""


@dataclass(frozen=True, slots=True)
class Graph:
    """Stages by name, with the stages that each one directly needs."""

    needs: Mapping[str, frozenset[str]]

    def affected(self, changed: Collection[str]) -> set[str]:
        """The changed stages and all behind them."""
        found = set(changed) & self.needs.keys()
        while more := {name for name, needs in self.needs.items() if name not in found and needs & found}:
            found |= more
        return found

    def heights(self) -> dict[str, int]:
        """How many stages follow one after another behind each: what has most behind it is started first."""
        heights = dict.fromkeys(self.needs, 0)
        for _ in self.needs:
            for name, needs in self.needs.items():
                for before in needs:
                    heights[before] = max(heights[before], heights[name] + 1)
        return heights


@dataclass(slots=True)
class Running:
    """A stage that is being run."""

    name: str
    process: subprocess.Popen[bytes]
    started: float
    line: bytearray = field(default_factory=bytearray)

    def lines(self, content: bytes) -> list[str]:
        """Whole lines of what it printed; a progress bar that is drawn again is a line."""
        self.line += content.replace(b"\r", b"\n")
        *whole, rest = self.line.split(b"\n")
        self.line = bytearray(rest)
        return [line.decode(errors="replace") for line in whole if line.strip()]


class Scheduler:
    """Runs stages as soon as what they need is done."""

    def __init__(self, graph: Graph, todo: set[str], jobs: int, dvc: str, deadline: float = math.inf) -> None:
        """Nothing runs yet; after `deadline` of the monotonic clock nothing new is started."""
        self.graph, self.todo, self.jobs, self.dvc, self.deadline = graph, set(todo), jobs, dvc, deadline
        self.heights = graph.heights()
        self.total, self.done = len(todo), 0
        self.running: dict[IO[bytes], Running] = {}
        self.failed: list[str] = []
        self.selector = selectors.DefaultSelector()

    def run(self) -> None:
        """Run all.

        Raises:
            ValueError: A stage failed; those that ran beside it were let finish.
            OutOfTimeError: Some were not started in time.
        """
        try:
            while self.start() or self.running:
                for key, _ in self.selector.select():
                    self.read(self.running[key.fileobj])  # type: ignore[index]
        except KeyboardInterrupt:
            for each in self.running.values():
                os.killpg(each.process.pid, signal.SIGINT)  # DVC itself does not pass it on to its stage
            for each in self.running.values():
                each.process.communicate()
            raise
        if self.failed:
            raise ValueError(
                f"{', '.join(self.failed)} failed (see above); mend it and run the same command again, "
                "it goes on from there"
            )
        if self.todo:
            raise OutOfTimeError(f"{self.done} of {self.total} stages are done, not {', '.join(sorted(self.todo))}")

    def start(self) -> bool:
        """Start what can be started; whether anything was."""
        waiting = self.todo - {each.name for each in self.running.values()}
        ready = sorted(name for name in waiting if not self.graph.needs[name] & self.todo)
        ready.sort(key=lambda name: -self.heights[name])
        free = 0 if self.failed or time.monotonic() >= self.deadline else self.jobs - len(self.running)
        for name in ready[: max(free, 0)]:
            process = subprocess.Popen(
                [self.dvc, "--wait-for-lock", "repro", "--single-item", "--quiet", name],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_begin_child,
            )
            assert process.stdout
            self.running[process.stdout] = Running(name, process, time.monotonic())
            self.selector.register(process.stdout, selectors.EVENT_READ)
        return bool(ready[: max(free, 0)])

    def read(self, stage: Running) -> None:
        """Print what a stage said, and note its end."""
        assert stage.process.stdout
        content = os.read(stage.process.stdout.fileno(), 1 << 16)
        for line in stage.lines(content or b"\n"):
            self.say(line)
        if content:
            return
        self.selector.unregister(stage.process.stdout)
        del self.running[stage.process.stdout]
        if stage.process.wait():
            self.failed.append(stage.name)
            return
        self.todo.remove(stage.name)
        self.done += 1
        self.say(f"{stage.name}: done in {time.monotonic() - stage.started:.0f} s")

    def say(self, text: str) -> None:
        """A line with how far the whole is."""
        sys.stderr.write(f"[{self.done}/{self.total}] {text}\n")
        sys.stderr.flush()


def repro(jobs: int, without: Collection[str] = (), deadline: float = math.inf) -> int:
    """Bring everything up to date.

    Args:
        jobs: Stages at a time.
        without: Stages that are left as they are, and all behind them.
        deadline: On the monotonic clock; later than that no stage is started.

    Returns:
        How many stages were not up to date, or stood behind such a one.

    Raises:
        ValueError: A stage failed, or DVC cannot read the project; it has said why.
        OutOfTimeError: The deadline came first.
    """
    with single_run("repro"):
        mend_lock()
        mend_rwlock()
        graph, todo = outdated()
        todo -= graph.affected(without)
        Scheduler(graph, todo, jobs, find_dvc(), deadline).run()
        return len(todo)


def outdated() -> tuple[Graph, set[str]]:
    """The graph, empty where nothing has changed, and the stages that are not up to date or stand behind such a one.

    Data that was added by hand (`champions/<gate>.dvc`) is no stage: to run it would take what lies there for granted.

    Raises:
        ValueError: DVC cannot read the project; it has said why.
    """
    status = json.loads(said(find_dvc(), "status", "--json"))
    changed = [name for name in status if not name.endswith(DVC_FILE)]
    if not changed:
        return Graph({}), set()
    graph = whole_graph()
    return graph, graph.affected(changed)


def whole_graph() -> Graph:
    """All stages.

    Raises:
        ValueError: DVC cannot read the project; it has said why.
    """
    return read_graph(said(find_dvc(), "dag", "--dot", "--full"))


def mend_lock() -> None:
    """Put a whole `dvc.lock` in the place of one that a kill cut off, which DVC refuses: it does not write it at once.

    The stages that it then knows nothing of come back from DVC's run cache.
    """
    if not LOCK.exists():
        return
    content = LOCK.read_bytes()
    if locked_stages(content) is not None:
        write_bytes(SAVED_LOCK, content)
        return
    before = "the one of the last start is put in its place" if SAVED_LOCK.exists() else "it is left out"
    sys.stderr.write(f"{LOCK} was cut off while DVC wrote it: {before}\n")
    if SAVED_LOCK.exists():
        write_bytes(LOCK, SAVED_LOCK.read_bytes())
    else:
        LOCK.unlink()


def mend_rwlock() -> None:
    """Remove DVC's note of who reads and writes what if a kill cut it off: DVC would refuse every command from then on.

    A DVC that runs rewrites it in place, so it is looked at twice. Entries of processes that are gone DVC drops itself.
    """
    for attempt in range(2):
        try:
            whole = isinstance(json.loads(RWLOCK.read_text(encoding="utf-8")), dict)
        except FileNotFoundError:
            return
        except ValueError:
            whole = False
        if whole:
            return
        time.sleep(0 if attempt else REWRITTEN_SEC)
    RWLOCK.unlink(missing_ok=True)
    sys.stderr.write(f"{RWLOCK} was cut off while DVC wrote it: it is removed\n")


def read_graph(dot: str) -> Graph:
    """From what `dvc dag --dot` prints: an arrow leads from a stage to one that needs it."""
    needs: dict[str, set[str]] = {}
    for line in dot.splitlines():
        if found := EDGE.match(line.strip()):
            needs.setdefault(found["before"], set())
            if after := found["after"]:
                needs.setdefault(after, set()).add(found["before"])
    return Graph({name: frozenset(before) for name, before in needs.items()})


def _begin_child() -> None:
    """In the child: a killed scheduler leaves no stage running, and one that is asked to stop is obeyed.

    A shell starts what it puts into the background with SIGINT switched off, and children inherit that.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    kill_me_with_parent()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="vignette repro", description="Run every stage that is not up to date, several at a time."
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="stages at a time (default: all cores)")
    arguments = parser.parse_args()
    with one_line_errors("repro"):
        if arguments.jobs < 1:
            raise ValueError(f"--jobs must be at least 1, got {arguments.jobs}")
        load_params()  # DVC would say less of a name that it cannot read
        count = repro(arguments.jobs)
        state = f"{count} stages run." if count else "Everything is up to date."
        sys.stdout.write(f"{state}\n{outcome_line()}\n")


if __name__ == "__main__":
    main()
