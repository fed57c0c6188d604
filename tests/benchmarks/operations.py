"""How long a reader and a scheduler wait: `python -m tests.benchmarks.operations`, in a project that is built.

Writes `reports/bench/operations.json` and prints the same as a table.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from pipelines import report
from pipelines.shared.comparing import Scored
from pipelines.shared.files import write_json
from tests.benchmarks.command import command
from tests.benchmarks.harness import Case, Contest, Goal, NotHereError
from tests.pipelines.shared.reporting import world

OUT = Path("reports/bench/operations.json")
MODULE = "tests.benchmarks.operations"
RECALLS = tuple(f"{way}_recall@{k}" for way in ("text_to_image", "image_to_text") for k in (1, 5, 10))
CLIP_SCORES = ("clip_score", "clip_score_gap", "clip_score_w")
DISTANCES = ("fd_a", "fd_b", "kd_a")
GROUPS = {"retrieval": RECALLS, "captioning": CLIP_SCORES, "distance": DISTANCES}
PROTOCOLS = {
    "retrieval": {"metric": "retrieval", "detector": "", "seed": 0},
    "captioning": {"metric": "clip_score", "detector": "first", "seed": 0},
    "distance": {"metric": "fd", "detector": "lite0", "detector_sha256": world.LITE0, "seed": 0},
}
NUM_UNITS = 1000


def model(number: int) -> Scored:
    """An evaluation of a model: 1,000 units, hits, scores and jackknives that differ from model to model."""
    rng = np.random.default_rng(number)
    common, skill = np.random.default_rng(0).normal(size=NUM_UNITS), 0.3 * rng.normal()
    values: dict[str, np.ndarray] = {"captioning/owner": np.arange(NUM_UNITS)}
    for way in ("text_to_image", "image_to_text"):
        values[f"retrieval/{way}_owner"] = np.arange(NUM_UNITS)
    for score in (*RECALLS, *CLIP_SCORES):
        drawn = common + skill + rng.normal(size=NUM_UNITS)
        group = "retrieval" if score in RECALLS else "captioning"
        values[f"{group}/{score}"] = (drawn > 0).astype(np.float64) if score in RECALLS else drawn
    for score in DISTANCES:
        values[f"distance/{score}_leave_one_group_out"] = 2 - skill + 0.05 * rng.normal(size=world.NUM_GROUPS)
    scores = {}
    for group, names in GROUPS.items():
        for score in names:
            column = values.get(f"{group}/{score}", values.get(f"{group}/{score}_leave_one_group_out"))
            assert column is not None, f"{score} has values"
            value = float(column.mean())
            ends = {"low": value - 0.05, "high": value + 0.05, "n": NUM_UNITS, "interval": "bootstrap"}
            scores[score] = {"value": value, **ends, "higher_is_better": group != "distance"}
    key = f"model-{number:02d}"
    about = {"scores": scores, "groups": {name: list(found) for name, found in GROUPS.items()}, "protocols": PROTOCOLS}
    return Scored(key=key, document=world.scored(key).document | about, values=values)


def reporting(quick: bool) -> Contest:
    """The whole report, of a small data set and many models."""
    folder = Path(tempfile.mkdtemp())
    params = world.build(folder)
    params["evaluations"] = {}
    for number in range(4 if quick else 50):
        scored = model(number)
        params["evaluations"][scored.key] = {}
        world.write_run(folder / "runs" / scored.key, scored.key)
        world.write_scored(folder, scored)
        rows = [{"key": f"{row:020x}", "source": "abc"[row % 3]} for row in range(NUM_UNITS)]
        captions = [{"owner": row, "origin": ("web", "human")[row % 2]} for row in range(NUM_UNITS)]
        write_json(folder / "data/evaluate" / scored.key / "samples.json", {"samples": rows, "captions": captions})
    params["report"] = {"columns": (*RECALLS, *CLIP_SCORES, *DISTANCES), "pairs": (("model-00", "model-01"),)}
    return Contest(ours=within(folder, lambda: report.run(params)))


def within(folder: Path, work: Callable[[], None]) -> Callable[[], None]:
    """The same work with another working directory."""

    def done() -> None:
        before = Path.cwd()
        os.chdir(folder)
        try:
            work()
        finally:
            os.chdir(before)

    return done


def nothing_to_do(quick: bool) -> Contest:
    """`dvc repro` of this project's whole graph, where everything is up to date."""
    dvc = [str(Path(sys.executable).with_name("dvc"))]
    status = subprocess.run([*dvc, "status", "--json"], capture_output=True, text=True, check=False)
    if status.returncode or status.stdout.strip() != "{}":
        raise NotHereError("not everything is up to date here: `make demo` first")
    return Contest(ours=lambda: subprocess.run([*dvc, "repro", "--quiet"], check=True, capture_output=True))


CASES = (
    Case(title="Report of 50 models, 1000 units", make=reporting, goal=Goal(most=20)),
    Case(title="dvc repro with nothing to do", make=nothing_to_do, goal=Goal(most=5)),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    command(CASES, OUT, MODULE, str(__doc__), arguments)


if __name__ == "__main__":
    main()
