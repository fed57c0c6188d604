"""A local Beam worker process: the SDK harness with our logging, because its own prints every step of its start."""

import sys

from pipelines.shared.processes import end_with_parent
from pipelines.shared.stage import setup_logging


def main() -> None:
    """Run the harness until its runner is done with it."""
    end_with_parent()
    setup_logging()
    from apache_beam.runners.worker import sdk_worker_main

    sdk_worker_main.main(sys.argv)


if __name__ == "__main__":
    main()
