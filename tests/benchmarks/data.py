"""The speed of filters, of the search for duplicates and of resizing: `python -m tests.benchmarks.data`.

Writes `reports/bench/data.json` and prints the same as a table. Peers run in `.venv-peers`; a case whose peer is not
there is left out with a message.
"""

from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.command import command
from tests.benchmarks.data_contests import (
    large_pictures,
    many_hashes,
    pictures_and_peer,
    rules_alone,
    rules_and_peer,
)
from tests.benchmarks.harness import (
    Case,
    Goal,
)

OUT = Path("reports/bench/data.json")
MODULE = "tests.benchmarks.data"
CASES = (
    Case(
        title="Words, side, aspect and best 30 % on 1,000,000 rows, one core",
        make=rules_alone,
        goal=Goal(most=1),
    ),
    Case(
        title="Words, side, aspect and best 30 % on 100,000 rows",
        make=rules_and_peer,
        peer_name="py-data-juicer",
        goal=Goal(least_ratio=10),
    ),
    Case(
        title="Pairs within 4 bits of 1,000,000 hashes",
        make=many_hashes,
        goal=Goal(most=60),
        memory_goal=Goal(most=2000),
    ),
    Case(
        title="Pairs within 4 bits of the site's pictures and their halves",
        make=pictures_and_peer,
        peer_name="imagededup",
        goal=Goal(least_ratio=5),
    ),
    Case(
        title="Pictures of 640 x 480 resized to a pack's 224",
        make=large_pictures,
        peer_name="pillow",
        goal=Goal(least_ratio=3),
        unit="pictures/s",
    ),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    command(CASES, OUT, MODULE, str(__doc__), arguments)


if __name__ == "__main__":
    main()
