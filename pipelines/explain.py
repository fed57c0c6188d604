"""Command `explain KEY`: one sample's whole life, from its URL to every decision and caption."""

import argparse
import sys

from pipelines.shared.explaining import explain
from pipelines.shared.params import load_params
from pipelines.shared.stage import one_line_errors


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="vignette explain",
        description="Tell one sample's life: where it was found, what every stage said of it, where it went.",
    )
    parser.add_argument("key", help="the sample's key or the beginning of it, or its URL")
    arguments = parser.parse_args()
    with one_line_errors("explain"):
        sys.stdout.write(explain(load_params(), arguments.key))


if __name__ == "__main__":
    main()
