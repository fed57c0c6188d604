"""Command `what-if FILTER --set SETTING=VALUE ...`: what other thresholds of a filter would keep and reject."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from pipelines.shared.files import write_bytes
from pipelines.shared.inert_texts import visible
from pipelines.shared.params import load_params
from pipelines.shared.reporting.page import render
from pipelines.shared.splits import SPLITS
from pipelines.shared.stage import STATE, one_line_errors
from pipelines.shared.supposing import Comparison, parse_change, suppose, wall

NUM_SHOWN = 24


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="vignette what-if",
        description="Tell what a filter would decide with other settings: counts, reasons, and a page with samples "
        "that change sides. Reads stored columns alone and changes nothing.",
    )
    parser.add_argument("filter", help="which filter of params.yaml")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SETTING=VALUE",
        dest="changes",
        help="a setting of its entry and a value in YAML: rules.min-side.min_side_px=64, near_duplicates.radius=6",
    )
    parser.add_argument("--drop", action="append", default=[], metavar="RULE", help="a rule that is left out")
    parser.add_argument("--page", type=Path, help=f"where the page goes; default {STATE}/what-if/<filter>.html")
    parser.add_argument("--shown", type=int, default=NUM_SHOWN, help=f"samples of a move on it; default {NUM_SHOWN}")
    arguments = parser.parse_args()
    with one_line_errors(f"what-if {arguments.filter}"):
        if not arguments.changes and not arguments.drop:
            raise ValueError("nothing is supposed: give --set SETTING=VALUE or --drop RULE")
        if arguments.shown < 0:
            raise ValueError(f"--shown must be at least 0, got {arguments.shown}")
        changes = [parse_change(text) for text in arguments.changes]
        comparison = suppose(load_params(), arguments.filter, changes, arguments.drop)
        supposed = [*arguments.changes, *(f"without the rule {key}" for key in arguments.drop)]
        sys.stdout.write("\n".join([*map(visible, lines(comparison)), ""]))
        page = arguments.page or STATE / "what-if" / f"{arguments.filter}.html"
        write_bytes(page, html(comparison, supposed, arguments.shown).encode())
        sys.stdout.write(f"samples that change sides: {page}\n")


def lines(comparison: Comparison) -> Iterator[str]:
    """The funnel before and after, and what moves from where to where."""
    yield f"filter {comparison.name}{'before':>34}{'after':>10}{'change':>10}"
    for name, before, after in comparison.funnel:
        indent = "    " if name in SPLITS else "  "
        change = f"{after - before:+,}" if after != before else ""
        yield f"{indent + name:<{len(comparison.name) + 31}}{before:>10,}{after:>10,}{change:>10}".rstrip()
    for (old, new), rows in comparison.moves.items():
        yield f"  {old} -> {new}: {len(rows):,}"
    for name, old_limit, new_limit in comparison.thresholds:
        yield f"  threshold {name}: {_limit(old_limit)} -> {_limit(new_limit)}"
    if moved := comparison.num_split_moves:
        yield f"  {moved:,} samples that stay change their split: what a trained model has seen may become test data"


def _limit(value: float | None) -> str:
    return "none" if value is None else f"{value:.6g}"


def html(comparison: Comparison, supposed: list[str], num_shown: int) -> str:
    """The page."""
    return render(
        "what_if.html",
        {
            "title": f"What if: filter {comparison.name}",
            "supposed": supposed,
            "funnel": comparison.funnel,
            "splits": SPLITS,
            "moves": {move: len(rows) for move, rows in comparison.moves.items()},
            "thresholds": comparison.thresholds,
            "num_split_moves": comparison.num_split_moves,
            "wall": wall(comparison, num_shown),
        },
    )


if __name__ == "__main__":
    main()
