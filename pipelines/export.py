"""Command `export`: copy a finished folder, such as a pack or a run, to an object store or any other file system."""

import argparse
import sys
from pathlib import Path

from pipelines.shared.exporting import export
from pipelines.shared.stage import one_line_errors, setup_logging


def main() -> None:
    """Command line; exits with 1 and one line on what is wrong."""
    parser = argparse.ArgumentParser(
        prog="vignette export",
        description="Copy a finished folder to a file system that fsspec knows, and compare every file there.",
        epilog="What is there with the same bytes is not sent again: after an interruption the same command goes on. "
        "Manifests are sent last. Credentials are looked for where the file system's library does so.",
    )
    parser.add_argument("folder", type=Path, help="such as data/pack/web, runs/clip or reports")
    parser.add_argument("url", help="the folder that it becomes, such as s3://bucket/packs/web")
    arguments = parser.parse_args()
    setup_logging()
    with one_line_errors(f"export {arguments.folder}"):
        done = export(arguments.folder, arguments.url)
    sys.stdout.write(
        f"{arguments.url}: {done.num_sent} files sent, {done.num_kept} were there; "
        f"all compared, {done.num_bytes / 1e6:.1f} MB\n"
    )


if __name__ == "__main__":
    main()
