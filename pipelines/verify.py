"""Command `verify`: hash everything that was published again, and compare it with what was written down about it."""

import argparse
import sys
from collections.abc import Sequence

from pipelines.shared.params import load_params
from pipelines.shared.progress import progress
from pipelines.shared.stage import one_line_errors
from pipelines.shared.verifying import Check, verify


def table(checks: Sequence[Check]) -> str:
    """A row for each folder, then every problem, and last the counts."""
    width = max((len(check.name) for check in checks), default=0)
    lines = [
        f"{check.name:<{width}}  {check.num_files:>7} files  {f'{len(check.problems)} BAD' if check.problems else 'ok'}"
        for check in checks
    ]
    problems = [problem for check in checks for problem in check.problems]
    total = f"{sum(check.num_files for check in checks)} files compared, {len(problems)} problems"
    return "\n".join([*lines, *problems, total, ""])


def main() -> None:
    """Command line; exits with 1 if anything is not as it was published."""
    parser = argparse.ArgumentParser(
        prog="vignette verify",
        description="Hash everything that was published again and compare it with manifests, runs and dvc.lock.",
        epilog="Exits with 1 and names each bad file if anything differs.",
    )
    parser.parse_args()
    with one_line_errors("verify"):
        params = load_params()
        with progress(desc="verify", unit="B", unit_scale=True) as bar:

            def advance(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            checks = verify(params, advance)
    sys.stdout.write(table(checks))
    if any(check.problems for check in checks):
        sys.exit(1)


if __name__ == "__main__":
    main()
