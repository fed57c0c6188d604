"""What every stage's command does: arguments, one run at a time, one-line errors, scratch that a killed run resumes.

Scratch is `.vignette/scratch/<stage>/<key>/<fingerprint>`: undeclared to DVC, ignored by git, and named by the digest
of settings, inputs and code, so that unfinished work is found again by the same run and never by another one.
"""

import argparse
import fcntl
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from pipelines.shared.files import digest_json, digest_tree, naming, remove_folder
from pipelines.shared.inert_texts import visible
from pipelines.shared.keys import check_key
from pipelines.shared.params import load_params
from pipelines.shared.processes import kill_me_with_parent
from pipelines.shared.progress import is_drawn
from pipelines.shared.refusals import GOES_ON, line_of
from pipelines.shared.results import drop_damaged

STATE = Path(".vignette")
DATA = Path("data")
RUNS = Path("runs")
CURVES = Path("dvclive")
TIMINGS = Path("timings")
SCORES = Path("scores")
OURS = ("vignette", "pipelines", "models", "metrics")
PACKAGE = Path(__file__).resolve().parents[1]
logger = logging.getLogger("vignette.stage")


@dataclass(frozen=True, kw_only=True, slots=True)
class StageRun:
    """One run of a stage.

    Attributes:
        stage: Name of the stage.
        key: Its instance.
        params: All of `params.yaml`.
        beam_options: Further command line arguments, passed on to Beam as they are.
    """

    stage: str
    key: str
    params: Mapping[str, Any]
    beam_options: tuple[str, ...] = ()

    @property
    def seed(self) -> int:
        """The seed of the whole pipeline."""
        seed = self.params.get("seed", 0)
        if not isinstance(seed, int):
            raise ValueError(f"params.yaml: seed must be a whole number, got {seed!r}")
        return seed

    @property
    def num_threads(self) -> int:
        """CPU threads of one process: part of what decides a result's bits, so it is stated and not the machine's."""
        number = self.params.get("num_threads", 1)
        if not isinstance(number, int) or number < 1:
            raise ValueError(f"params.yaml: num_threads must be a whole number from 1, got {number!r}")
        return number

    @contextmanager
    def scratch(self, *identity: Any) -> Iterator[Path]:
        """A folder for unfinished work, found again after a kill and removed when the block ends well.

        Results of an earlier run whose files are not whole are removed from it.

        Args:
            *identity: JSON values that decide the result: settings, digests of inputs.
        """
        fingerprint = digest_json([self.stage, self.key, self.seed, code_digest(), *identity])[:16]
        home = STATE / "scratch" / self.stage / self.key
        folder = home / fingerprint
        folder.mkdir(parents=True, exist_ok=True)
        if dropped := drop_damaged(folder):
            logger.warning("%s %s: %d results in %s are damaged and made again", self.stage, self.key, dropped, folder)
        with naming(folder):
            yield folder
        remove_folder(home)


def code_digest() -> str:
    """Digest of the pipelines package's source files."""
    return digest_tree(PACKAGE, "*.py")


def main(stage: str, run: Callable[[StageRun], None], description: str, *, beam: bool = True) -> None:
    """The command line of a stage; exits with 0, or with 1 and one line on what is wrong.

    Args:
        stage: Name of the stage and of its module.
        run: The work.
        description: First line of `--help`.
        beam: Whether further arguments are Beam pipeline options.
    """
    parser = argparse.ArgumentParser(
        prog=f"vignette {stage}",
        description=description,
        epilog="Further options are passed to Beam: --runner, --direct_num_workers, ..." if beam else None,
    )
    parser.add_argument("key", help="which instance of params.yaml to run")
    arguments, rest = parser.parse_known_args()
    if rest and not beam:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    setup_logging()
    die_with_parent()
    # a thread that spins while it waits for one that other work has displaced makes a busy machine many times slower
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    rank = os.environ.get("RANK", "0")  # the processes that torchrun starts for one run do not lock each other out
    lock = f"{stage}-{arguments.key}" + (f"-{rank}" if rank != "0" else "")
    with one_line_errors(f"{stage} {arguments.key}", ends_at_once=True):
        check_key(arguments.key, "the instance to run")
        with single_run(lock):
            run(StageRun(stage=stage, key=arguments.key, params=load_params(), beam_options=tuple(rest)))


def setup_logging() -> None:
    """Our own progress and warnings on standard error, of libraries their errors only.

    Beam's are left out unless tracebacks are asked for: what it logs as an error reaches the command as an exception.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    handler.addFilter(_is_shown)
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("vignette").setLevel(logging.INFO)


def _is_shown(record: logging.LogRecord) -> bool:
    library = record.name.partition(".")[0]
    return library in OURS or (record.levelno >= logging.ERROR and (library != "apache_beam" or shows_tracebacks()))


def shows_tracebacks() -> bool:
    """Whether `VIGNETTE_TRACEBACK` asks for tracebacks where a line would do."""
    return bool(os.environ.get("VIGNETTE_TRACEBACK"))


@contextmanager
def one_line_errors(where: str, *, ends_at_once: bool = False) -> Iterator[None]:
    """A user's mistake or an error of the system ends the command with one line; our own keep their traceback.

    SIGTERM is an interruption like Ctrl-C; without a handler, process 1 of a container would not even hear of it.

    Args:
        where: The command, with what it works on.
        ends_at_once: Ctrl-C and SIGTERM end the process on the spot, as its workers then do (`processes`). It waits for
            no thread and cleans up no more than after `kill -9`, which the next run makes good.
    """
    line = f"vignette {where}: interrupted; {GOES_ON}"
    with _interruptible(line if ends_at_once else ""):
        try:
            yield
        except (ValueError, OSError) as error:
            if shows_tracebacks():
                raise
            sys.exit(f"vignette {where}: {visible(line_of(error))}")
        except KeyboardInterrupt:
            sys.exit(line)


@contextmanager
def _interruptible(last_line: str) -> Iterator[None]:
    """Take over signals, but for those that whoever started us has switched off."""

    def interrupted(_number: int, _frame: FrameType | None) -> None:
        if not last_line:
            raise KeyboardInterrupt
        os.write(2, f"{os.linesep if is_drawn() else ''}{last_line}\n".encode())
        os._exit(1)

    numbers = [signal.SIGINT, signal.SIGTERM] if last_line else [signal.SIGTERM]
    if threading.current_thread() is not threading.main_thread():
        numbers = []
    before = {number: handler for number in numbers if (handler := signal.getsignal(number)) is not signal.SIG_IGN}
    for number in before:
        signal.signal(number, interrupted)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def single_run(name: str) -> Iterator[None]:
    """One run of an instance at a time; the lock dies with its holder.

    Raises:
        ValueError: Another process holds it.
    """
    path = STATE / "locks" / f"{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(f"another run holds {path}: wait for it or end it") from error
        yield


def die_with_parent() -> None:
    """Under DVC on Linux, end this process when its parent dies: a killed `dvc repro` leaves no stage running."""
    if "DVC_ROOT" in os.environ:
        kill_me_with_parent()
