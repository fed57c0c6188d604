from typing import Any

import pytest

from pipelines.shared.keeping import decide


def candidate(origin: str, match: float, clip: float) -> dict[str, Any]:
    return {"origin": origin, "scores": {"match": match, "clip": clip}}


TEXTS = [
    candidate("web", 0.6, 20.0),
    candidate("human", 0.1, 5.0),
    candidate("synthetic", 0.9, 30.0),
    candidate("synthetic", 0.4, 40.0),
    candidate("synthetic", 0.7, 25.0),
    candidate("synthetic", 0.5, 25.0),
]


@pytest.mark.parametrize(
    "best,ranked,expected",
    [
        (0, ("web", "synthetic"), [0, 1, 2, 4, 5]),
        (1, ("web", "synthetic"), [1, 2]),
        (2, ("web", "synthetic"), [1, 2, 4]),
        (9, ("web", "synthetic"), [0, 1, 2, 4, 5]),
        (1, ("synthetic",), [0, 1, 2]),
        (1, ("web",), [0, 1, 2, 4, 5]),
    ],
)
def test_the_best_of_those_that_pass(best: int, ranked: tuple[str, ...], expected: list[int]) -> None:
    kept = decide(TEXTS, 0.5, best, ranked)
    assert [row for row, is_kept in enumerate(kept) if is_kept] == expected


def test_what_was_not_judged_passes_only_if_a_person_wrote_it() -> None:
    unjudged = [{"origin": origin, "scores": {}} for origin in ("web", "human", "synthetic")]
    assert decide(unjudged, 0.0, 1, ("web", "synthetic")) == [False, True, False]
