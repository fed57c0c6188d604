"""Command `promote GATE`: put the challenger in the champion's place, as the gate decided.

The run, the runs it builds on and the frozen test set go to `champions/<gate>` (`dvc add`); `champions/<gate>.dvc` and
the gate's files are committed, and two tags made: `<gate>@vX.Y.Z` and `<gate>#champion#N`. Nothing else is touched, and
a promotion that was interrupted is finished by the same command.
"""

import argparse
import sys

from pipelines.shared.promoting import Options, promote
from pipelines.shared.stage import one_line_errors, single_run


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="vignette promote", description="Put the challenger in the champion's place.")
    parser.add_argument("gate", help="a gate of params.yaml")
    parser.add_argument("--force", action="store_true", help="whatever the gate says; needs --reason")
    parser.add_argument("--reason", default="", metavar="TEXT", help="why; goes into commit and tag")
    parser.add_argument("--refreeze", action="store_true", help="freeze the present test split")
    parser.add_argument("--push", action="store_true", help="give the champion to DVC's remote")
    parser.add_argument("--dry-run", action="store_true", help="only tell what would be done")
    arguments = parser.parse_args()
    if arguments.force != bool(arguments.reason.strip()):
        parser.error("--force needs --reason TEXT, and --reason is for --force")
    options = Options(
        reason=arguments.reason.strip(),
        refreeze=arguments.refreeze,
        push=arguments.push,
        dry_run=arguments.dry_run,
    )
    with one_line_errors(f"promote {arguments.gate}"), single_run("retrain"):
        sys.stdout.write("".join(f"{line}\n" for line in promote(arguments.gate, options)))


if __name__ == "__main__":
    main()
