"""Command `replay ROW`: compute a row of the leaderboard again from stored evidence, and compare it to the last bit.

A row is `<evaluation>/<score>`; `<evaluation>` alone means all of its rows. No model is run: what the metrics were
given lies in `data/evaluate/<evaluation>/evidence`, whose files are checked against the manifest first.
"""

import argparse
import sys
from collections.abc import Sequence

from pipelines.shared.devices import make_deterministic
from pipelines.shared.documents import read_json
from pipelines.shared.evaluation.replaying import Replayed, replay
from pipelines.shared.params import load_params, suggestion
from pipelines.shared.stage import DATA, SCORES, StageRun, one_line_errors


def replay_rows(row: str) -> list[Replayed]:
    """Compute a row, or all rows of an evaluation, again.

    Raises:
        ValueError: There is no such row, or its evidence is missing or damaged.
    """
    import torch

    key, _, score = row.partition("/")
    path = SCORES / f"{key}.json"
    if not path.is_file():
        known = [found.stem for found in SCORES.glob("*.json")]
        raise ValueError(f"{path} does not exist{suggestion(key, known)}; a row is <evaluation>/<score>")
    document = read_json(path)
    if score and score not in document["scores"]:
        known = sorted(document["scores"])
        raise ValueError(f"{key} has no score {score!r}{suggestion(score, known)}; there are: {', '.join(known)}")
    make_deterministic(torch.device("cpu"), StageRun(stage="replay", key=key, params=load_params()).num_threads)
    return replay(document, DATA / "evaluate" / key, [score] if score else list(document["scores"]))


def table(rows: Sequence[Replayed]) -> str:
    """A line for each row, then every difference."""
    width = max(len(row.score) for row in rows)
    lines = [f"{row.score:<{width}}  {'DIFFERS' if row.differences else 'equal'}  {row.value!r}" for row in rows]
    differences = [f"{row.score}: {difference}" for row in rows for difference in row.differences]
    wrong = sum(bool(row.differences) for row in rows)
    return "\n".join([*lines, *differences, f"{len(rows)} rows computed again, {wrong} differ", ""])


def main() -> None:
    """Command line; exits with 1 if a row differs."""
    parser = argparse.ArgumentParser(
        prog="vignette replay",
        description="Compute a row of the leaderboard again from stored evidence, and compare it to the last bit.",
        epilog="Exits with 1 if anything differs. On another processor the last bits of a sum may.",
    )
    parser.add_argument("row", help="<evaluation>/<score>, or <evaluation> for all of its rows")
    arguments = parser.parse_args()
    with one_line_errors("replay"):
        rows = replay_rows(arguments.row)
    sys.stdout.write(table(rows))
    if any(row.differences for row in rows):
        sys.exit(1)


if __name__ == "__main__":
    main()
