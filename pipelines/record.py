"""Command `record`: append the present scores to the leaderboard's history, `scores/records.jsonl`.

What is already recorded is not recorded again, and nothing is taken away. How the build and the machine compare with
those that git has at HEAD is kept beside it, in `scores/reproduced/`: the report reads it from there, as it reads no
git and looks at no machine. `demo` and `retrain` do it by themselves.
"""

import argparse
import datetime
import sys

from pipelines.shared.machine import machine_facts
from pipelines.shared.params import load_params
from pipelines.shared.recording import RECORDS, append_records
from pipelines.shared.reproducing import keep_comparison
from pipelines.shared.stage import RUNS, SCORES, TIMINGS, one_line_errors, single_run


def record() -> int:
    """Record all scores that `params.yaml` names.

    Returns:
        How many records were appended.
    """
    params = load_params()
    evaluations = sorted([*params["evaluations"], *(params.get("references") or {})])
    today = datetime.datetime.now(datetime.UTC).date()
    with single_run("record"):
        count = append_records(SCORES, TIMINGS, RUNS, evaluations, today, machine_facts())
        keep_comparison(SCORES)
    return count


def main() -> None:
    """Command line."""
    argparse.ArgumentParser(
        prog="vignette record", description="Append the present scores to the leaderboard's history."
    ).parse_args()
    with one_line_errors("record"):
        sys.stdout.write(f"{SCORES / RECORDS}: {record()} records appended\n")


if __name__ == "__main__":
    main()
