"""Run every stage that is not up to date, several at a time: `vignette repro`, or `vignette repro --jobs 4`.

`dvc repro` runs one stage after another, and most stages use one core. This command asks DVC which stages changed and
how they hang together, and gives each one, once those before it are done, to a `dvc repro --single-item` of its own.
What is run, skipped, cached and locked is DVC's business; what comes out is what `dvc repro` makes, bit by bit.
"""

import argparse
import ctypes
import json
import os
import re
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipelines.shared.files import write_bytes
from pipelines.shared.stage import STATE, one_line_errors, single_run

EDGE = re.compile(r'^"(?P<before>[^"]+)"(?: -> "(?P<after>[^"]+)")?;$')
LIBC = ctypes.CDLL(None)
LOCK = Path("dvc.lock")
SAVED_LOCK = STATE / "dvc.lock"
MD5_DIGITS = 32


@dataclass(frozen=True, slots=True)
class Graph:
    """Stages by name, with the stages that each one directly needs."""

    needs: Mapping[str, frozenset[str]]

    def affected(self, changed: Sequence[str]) -> set[str]:
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

    def __init__(self, graph: Graph, todo: set[str], jobs: int, dvc: str) -> None:
        """Nothing runs yet."""
        self.graph, self.todo, self.jobs, self.dvc = graph, set(todo), jobs, dvc
        self.heights = graph.heights()
        self.total, self.done = len(todo), 0
        self.running: dict[IO[bytes], Running] = {}
        self.failed: list[str] = []
        self.selector = selectors.DefaultSelector()

    def run(self) -> None:
        """Run all.

        Raises:
            ValueError: A stage failed; those that ran beside it were let finish.
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

    def start(self) -> bool:
        """Start what can be started; whether anything was."""
        waiting = self.todo - {each.name for each in self.running.values()}
        ready = sorted(name for name in waiting if not self.graph.needs[name] & self.todo)
        ready.sort(key=lambda name: -self.heights[name])
        free = 0 if self.failed else self.jobs - len(self.running)
        for name in ready[: max(free, 0)]:
            process = subprocess.Popen(
                [self.dvc, "--wait-for-lock", "repro", "--single-item", "--quiet", name],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_parent,
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


def find_dvc() -> str:
    """The `dvc` beside this interpreter, which is also put first on PATH for the stages' `python3`.

    Raises:
        ValueError: There is none.
    """
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    dvc = shutil.which("dvc")
    if dvc is None:
        raise ValueError("dvc is missing: make setup installs it")
    return dvc


def repro(jobs: int) -> int:
    """Bring everything up to date.

    Args:
        jobs: Stages at a time.

    Returns:
        How many stages were not up to date, or stood behind such a one.

    Raises:
        ValueError: A stage failed, or DVC cannot read the project; it has said why.
    """
    dvc = find_dvc()
    with single_run("repro"):
        mend_lock()
        status = json.loads(_said(dvc, "status", "--json"))
        if not status:
            return 0
        graph = read_graph(_said(dvc, "dag", "--dot", "--full"))
        todo = graph.affected(list(status))
        Scheduler(graph, todo, jobs, dvc).run()
        return len(todo)


def mend_lock() -> None:
    """Put a whole `dvc.lock` in the place of one that a kill cut off, which DVC refuses: it does not write it at once.

    The stages that it then knows nothing of come back from DVC's run cache.
    """
    if not LOCK.exists():
        return
    content = LOCK.read_bytes()
    if is_whole(content):
        write_bytes(SAVED_LOCK, content)
        return
    before = "the one of the last start is put in its place" if SAVED_LOCK.exists() else "it is left out"
    sys.stderr.write(f"{LOCK} was cut off while DVC wrote it: {before}\n")
    if SAVED_LOCK.exists():
        write_bytes(LOCK, SAVED_LOCK.read_bytes())
    else:
        LOCK.unlink()


def is_whole(lock: bytes) -> bool:
    """Whether a `dvc.lock` has all that DVC requires of it."""
    try:
        stages = YAML(typ="safe", pure=True).load(lock.decode())["stages"].values()
        return all(
            isinstance(stage["cmd"], str) and all(files_are_whole(stage.get(name, [])) for name in ("deps", "outs"))
            for stage in stages
        )
    except (YAMLError, UnicodeDecodeError, KeyError, TypeError, AttributeError):
        return False


def files_are_whole(files: Sequence[Mapping[str, str]]) -> bool:
    """Whether each file of a stage has its path and its digest."""
    return all(isinstance(each["path"], str) and len(each["md5"].removesuffix(".dir")) == MD5_DIGITS for each in files)


def read_graph(dot: str) -> Graph:
    """From what `dvc dag --dot` prints: an arrow leads from a stage to one that needs it."""
    needs: dict[str, set[str]] = {}
    for line in dot.splitlines():
        if found := EDGE.match(line.strip()):
            needs.setdefault(found["before"], set())
            if after := found["after"]:
                needs.setdefault(after, set()).add(found["before"])
    return Graph({name: frozenset(before) for name, before in needs.items()})


def _said(dvc: str, *words: str) -> str:
    done = subprocess.run([dvc, *words], stdout=subprocess.PIPE, check=False, text=True)
    if done.returncode:
        raise ValueError(f"dvc {' '.join(words)} failed (see above)")
    return done.stdout


def _die_with_parent() -> None:
    """In the child: a killed scheduler leaves no stage running; Linux alone has the means."""
    if sys.platform == "linux":
        LIBC.prctl(1, signal.SIGKILL)


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
        count = repro(arguments.jobs)
        sys.stdout.write(f"{count} stages run.\n" if count else "Everything is up to date.\n")


if __name__ == "__main__":
    main()
