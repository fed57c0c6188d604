"""The main job with one command: switch the scale, build its site, run all stages, show the leaderboard."""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.record import record
from pipelines.refresh import refresh
from pipelines.repro import repro
from pipelines.scale import scale_names, switch
from pipelines.shared.lock import read_lock
from pipelines.shared.params import load_params
from pipelines.shared.reporting.leaderboard import named, shown
from pipelines.shared.reproducing import outcome_line
from pipelines.shared.stage import one_line_errors
from pipelines.shared.storage import is_url

REPORT = Path("reports")
EMBEDDED_SITE = Path("examples/site")
SITE_BUILDER = Path("examples/build_site.py")
REPORT_STAGE = "report"
NUM_ROWS = 12


def build_sites(params: Mapping[str, Any]) -> None:
    """Build the local sites that are not in git; a folder is named for the scale of `examples/build_site.py`.

    Raises:
        ValueError: The builder failed; it has said why.
    """
    served = {entry["serve"] for entry in params["sources"].values() if "serve" in entry}
    for site in sorted(Path(name) for name in served if not is_url(name)):
        if site != EMBEDDED_SITE and not (site / "index.html").exists():
            command = [sys.executable, str(SITE_BUILDER), "--scale", site.name, "--out", str(site)]
            if subprocess.run(command, check=False).returncode:
                raise ValueError(f"{site} could not be built: {' '.join(command[1:])}")


def refresh_sources(params: Mapping[str, Any]) -> None:
    """Note what local sources are now; what is on the web is noted once, and again only by `vignette refresh`."""
    known = read_lock()
    for key, entry in params["sources"].items():
        if "serve" in entry or key not in known:
            refresh(key)


def leaderboard_top() -> str:
    """The first rows of the leaderboard, aligned."""
    rows = json.loads((REPORT / "leaderboard.json").read_bytes())[:NUM_ROWS]
    table = [["metric", "model", "pack", "value", "95% interval", "n"]]
    for row in rows:
        interval = f"{shown(row['low'])} to {shown(row['high'])}"
        table.append([row["metric"], named(row), row["pack"], shown(row["value"]), interval, str(row["n"])])
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)) for row in table)
    return "\n".join(line.rstrip() for line in lines)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="vignette demo", description="From a web site to a leaderboard: run every stage that is not up to date."
    )
    parser.add_argument("--scale", default="debug", help=f"one of {', '.join(scale_names())} (default: debug)")
    arguments = parser.parse_args()
    start = time.monotonic()
    with one_line_errors("demo"):
        switch(arguments.scale)
        params = load_params()
        build_sites(params)
        refresh_sources(params)
        jobs = os.cpu_count() or 1
        changed = repro(jobs, without=(REPORT_STAGE,))
        record()
        changed += repro(jobs)
        minutes, seconds = divmod(round(time.monotonic() - start), 60)
        state = f"Done in {minutes} min {seconds} s." if changed else f"Everything is up to date ({seconds} s)."
        sys.stdout.write(f"\n{leaderboard_top()}\n\n{outcome_line()}\n{state} Report: {REPORT / 'index.html'}\n")


if __name__ == "__main__":
    main()
