"""The speed and memory of metrics against other libraries: `python -m tests.benchmarks.metrics`.

Writes `reports/bench/metrics.json` and prints the same as a table.
"""

import functools
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.command import command
from tests.benchmarks.contests import cached_pairs, frechet, inception, kernel_distance, many_captions, one_caption
from tests.benchmarks.harness import (
    Case,
    Goal,
)

OUT = Path("reports/bench/metrics.json")
MODULE = "tests.benchmarks.metrics"
CASES = (
    *(
        Case(
            title=f"Frechet trace, d = 2048, n = {num_rows}",
            make=functools.partial(frechet, num_rows=num_rows, peer=peer),
            peer_name=peer,
            goal=goal,
        )
        for num_rows, peer, goal in (
            (5000, "torchmetrics", Goal(least_ratio=5)),
            (5000, "torch_fidelity", Goal(least_ratio=5)),
            (5000, "scipy", Goal(least_ratio=5)),
            (1000, "torch_fidelity", Goal(most=0.4)),
        )
    ),
    Case(
        title="KID of 5000 x 2048 features",
        make=kernel_distance,
        peer_name="torchmetrics",
        goal=Goal(least_ratio=2),
        memory_goal=Goal(least_ratio=1),
    ),
    Case(
        title="Recall both ways, 5000 images, 25000 texts",
        make=many_captions,
        peer_name="clip_benchmark",
        goal=Goal(least_ratio=8),
        memory_goal=Goal(most=150),
    ),
    Case(
        title="Recall both ways, 5000 images, 5000 texts",
        make=one_caption,
        peer_name="open_clip_torch",
        goal=Goal(least_ratio=8),
        memory_goal=Goal(most=150),
    ),
    Case(
        title="CLIP score of 100000 cached pairs, 1000 resamples",
        make=cached_pairs,
        goal=Goal(most=2),
    ),
    Case(
        title="Inception features of 256 px images",
        make=inception,
        peer_name="torchmetrics",
        unit="images/s",
        goal=Goal(least_ratio=1.4),
    ),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    command(CASES, OUT, MODULE, str(__doc__), arguments)


if __name__ == "__main__":
    main()
