"""Command `reproduced [REVISION]`: whether the build in this folder came out as the one that is committed.

For every stage: equal, different or not built, by the digests in `dvc.lock`; of a different one whether its settings,
sources or code changed, whether it follows from another one, whether a network rounded differently, or whether bytes
that depend on inputs alone are other, which is a fault. For every score: equal, rounding, inside the published interval
or beyond it. Then what differs in processor, system and libraries. Nothing is written.
"""

import argparse
import dataclasses
import json
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from pipelines.shared.agreeing import ABSOLUTE, BEYOND, INSIDE, OTHER_PROTOCOL, RELATIVE, Agreement, count
from pipelines.shared.builds import published_build
from pipelines.shared.machine import Difference
from pipelines.shared.params import load_params
from pipelines.shared.programs import find_dvc, said
from pipelines.shared.reporting.leaderboard import shown
from pipelines.shared.reproducing import (
    DIFFERENT,
    EQUAL,
    HEAD,
    NOT_BUILT,
    REPRODUCED,
    STAGE_OUTCOMES,
    Comparison,
    Stage,
    compare,
    verdict_line,
)
from pipelines.shared.stage import one_line_errors

MAX_SHOWN = 8
CHANGED_SINCE = ("modified", "new")
NOTES = {
    "fault": "FAULT: equal inputs, settings and code, other bytes",
    "changed": "changed since",
    "rounding": "equal inputs, settings and code: a network rounded differently",
    "follows": "follows",
    "pages": "says when and where scores were recorded",
}
SCORE_NOTES = {
    "rounding": f"value and interval differ by at most {RELATIVE:g} of themselves, or by {ABSOLUTE:g}",
    "inside": "the value lies inside the published 95% interval",
    "beyond": "the value lies outside the published 95% interval",
    "other protocol": "not compared",
}


def changed_outputs() -> dict[str, list[str]]:
    """Outputs by stage that are there and not as `dvc.lock` says, as DVC sees them: changed since.

    Of one whose object is no longer in its cache DVC does not say whether it changed; `vignette verify` does.

    Raises:
        ValueError: DVC cannot read the project; it has said why.
    """
    status = json.loads(said(find_dvc(), "status", "--json"))
    found = {}
    for name, entries in status.items():
        changes = [entry.get("changed outs", {}) for entry in entries if isinstance(entry, dict)]
        paths = [path for change in changes for path, what in change.items() if what in CHANGED_SINCE]
        if paths:
            found[name] = paths
    return found


def table(found: Comparison, stale: dict[str, list[str]]) -> str:
    """Everything, grouped by outcome; the last line is the verdict."""
    day = f" of {found.day}" if found.day else ""
    lines = [f"Against {found.revision[:12]}{day}, the commit that last changed dvc.lock or scores.", "", "stages"]
    for outcome in STAGE_OUTCOMES:
        stages = [stage for stage in found.stages if stage.outcome == outcome]
        if stages:
            lines += stage_lines(outcome, stages, stale)
    if found.first:
        lines.append(f"  first to differ: {', '.join(stage.name for stage in found.first)}")
    if found.scores:
        lines += ["", "scores", *score_lines(found.scores)]
    lines += ["", *machine_lines(found.machines)]
    return "\n".join([*lines, "", verdict_line(found), ""])


def stage_lines(outcome: str, stages: Sequence[Stage], stale: dict[str, list[str]]) -> Iterator[str]:
    """A line for an outcome; for different ones a line each, and why."""
    names = ", ".join(shortened([stage.name for stage in stages])) if outcome not in (EQUAL, DIFFERENT) else ""
    yield f"  {outcome:<15}{len(stages):>4}  {names}".rstrip()
    width = max(len(stage.name) for stage in stages)
    for stage in stages if outcome == DIFFERENT else ():
        reasons = [*shortened(stage.changed), *(f"from {name}" for name in shortened(stage.follows))]
        yield f"    {stage.name:<{width}}  {'; '.join([NOTES[stage.cause], *reasons])}"
        yield from (f"    {'':<{width}}    {out}" for out in stage.outs)
    changed = [path for stage in stages if outcome == NOT_BUILT for path in stale.get(stage.name, [])]
    yield from (f"    {path} changed since it was built: `vignette repro` makes it again" for path in changed)


def score_lines(scores: Sequence[Agreement]) -> Iterator[str]:
    """A line for each outcome that there is; the scores themselves where values moved, the furthest first."""
    width = max(len(score.row) for score in scores)
    for outcome, number in count(scores).items():
        if not number:
            continue
        note = f"  {SCORE_NOTES[outcome]}" if outcome in SCORE_NOTES else ""
        yield f"  {outcome:<15}{number:>4}{note}"
        own = sorted((score for score in scores if score.outcome == outcome), key=lambda score: -score.share)
        if outcome not in (INSIDE, BEYOND, OTHER_PROTOCOL):
            continue
        kept = own if outcome == BEYOND else own[:MAX_SHOWN]
        for score in kept:
            yield f"    {score.row:<{width}}  {moved(score)}"
        if len(own) > len(kept):
            yield f"    and {len(own) - len(kept)} that moved less" if outcome == INSIDE else "    and more"


def moved(score: Agreement) -> str:
    """From the published value to the one here."""
    if score.differs:
        return f"differs in {', '.join(score.differs)}"
    published, low, high, here, difference = (
        shown(value or 0.0) for value in (score.published, score.low, score.high, score.here, score.difference)
    )
    return f"{published} [{low}, {high}] -> {here} ({'' if difference.startswith('-') else '+'}{difference})"


def machine_lines(machines: Sequence[Sequence[Difference]]) -> Iterator[str]:
    """What differs in the machines."""
    if not machines:
        yield "machine: the published records do not say on what machine they were made"
    for differences in machines:
        if not differences:
            yield "machine: processor, system and libraries are as those that the scores were published from"
            continue
        rows = [("machine", "published", "here"), *((each.name, each.there, each.here) for each in differences)]
        widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
        yield from (f"{name:<{widths[0]}}  {there:<{widths[1]}}  {here}" for name, there, here in rows)


def shortened(texts: Sequence[str]) -> list[str]:
    """The first few, and how many more."""
    more = [f"{len(texts) - MAX_SHOWN} more"] * (len(texts) > MAX_SHOWN)
    return [*texts[:MAX_SHOWN], *more]


def document(found: Comparison) -> dict[str, Any]:
    """The same for programs."""
    scores = [{**dataclasses.asdict(score), "difference": score.difference} for score in found.scores]
    return {**dataclasses.asdict(found), "scores": scores, "verdict": found.verdict, "line": verdict_line(found)}


def main() -> None:
    """Command line; with --strict exits with 1 unless everything was reproduced."""
    parser = argparse.ArgumentParser(
        prog="vignette reproduced",
        description="Say whether the build in this folder came out as the one that is committed.",
        epilog="What differs is a result: exits with 0 unless it cannot be computed, or --strict is given.",
    )
    parser.add_argument("revision", nargs="?", default=HEAD, help="of git: a branch, a tag, a commit (default: HEAD)")
    parser.add_argument("--json", action="store_true", help="everything as JSON, for programs")
    parser.add_argument("--strict", action="store_true", help="exit with 1 unless all is built and reproduced")
    arguments = parser.parse_args()
    with one_line_errors("reproduced"):
        load_params()  # DVC would say less of a name that it cannot read
        published = published_build(arguments.revision)
        stale = changed_outputs()
        found = compare(published, changed=stale)
    sys.stdout.write(json.dumps(document(found), indent=2) + "\n" if arguments.json else table(found, stale))
    if arguments.strict and found.verdict != REPRODUCED:
        sys.exit(1)


if __name__ == "__main__":
    main()
