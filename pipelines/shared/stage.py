"""What every stage's command does: arguments, one run at a time, one-line errors, scratch that a killed run resumes.

Scratch is `.vignette/scratch/<stage>/<key>/<fingerprint>`: undeclared to DVC, ignored by git, and named by the digest
of settings, inputs and code, so that unfinished work is found again by the same run and never by another one.
"""

import argparse
import ctypes
import fcntl
import logging
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.shared.files import digest_json, digest_tree
from pipelines.shared.inert_texts import visible
from pipelines.shared.keys import check_key
from pipelines.shared.params import load_params

STATE = Path(".vignette")
DATA = Path("data")
RUNS = Path("runs")
CURVES = Path("dvclive")
TIMINGS = Path("timings")
SCORES = Path("scores")
PR_SET_PDEATHSIG = 1
OURS = ("vignette", "pipelines", "models", "metrics")
PACKAGE = Path(__file__).resolve().parents[1]


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

        Args:
            *identity: JSON values that decide the result: settings, digests of inputs.
        """
        fingerprint = digest_json([self.stage, self.key, self.seed, code_digest(), *identity])[:16]
        home = STATE / "scratch" / self.stage / self.key
        folder = home / fingerprint
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        shutil.rmtree(home)


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
    with one_line_errors(f"{stage} {arguments.key}"):
        check_key(arguments.key, "the instance to run")
        with single_run(lock):
            run(StageRun(stage=stage, key=arguments.key, params=load_params(), beam_options=tuple(rest)))


def setup_logging() -> None:
    """Our own progress and warnings on standard error, of libraries their errors only."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    handler.addFilter(lambda record: record.levelno >= logging.ERROR or record.name.partition(".")[0] in OURS)
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("vignette").setLevel(logging.INFO)


@contextmanager
def one_line_errors(where: str) -> Iterator[None]:
    """A user's mistake ends the command with one line; our own mistakes keep their traceback."""
    try:
        yield
    except ValueError as error:
        if os.environ.get("VIGNETTE_TRACEBACK"):
            raise
        sys.exit(f"vignette {where}: {visible(' '.join(str(error).split()))}")
    except KeyboardInterrupt:
        sys.exit(f"vignette {where}: interrupted; the same command goes on from here")


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
    if sys.platform == "linux" and "DVC_ROOT" in os.environ:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
