"""What a crawl says of its losses."""

import pytest

from pipelines.shared.crawl_summary import ADVICE, crawl_table, first_advice, losses
from pipelines.shared.manifests import Counts
from pipelines.shared.reasons import FAILED, REJECTED

MIXED = Counts(num_in=1000, kept=600, rejected={"no_caption": 300, "optout:noai": 5}, failed={"http_404": 95})
NOTHING = Counts(num_in=300, kept=0, rejected={"url_refused": 300})


def test_table_has_every_reason_with_count_and_share() -> None:
    lines = crawl_table(MIXED, "sources.toys").splitlines()
    assert lines[0] == "sources.toys: 1000 links"
    assert [line.split()[:3] for line in lines[1:5]] == [
        ["600", "60.0%", "kept"],
        ["300", "30.0%", "no_caption"],
        ["95", "9.5%", "http_404"],
        ["5", "0.5%", "optout:noai"],
    ]
    assert "rejected: the source has no text" in lines[2] and "failed: a status other than 200" in lines[3]
    advice = [line.strip().partition(":")[0] for line in lines[5:]]
    assert advice == ["no_caption", "http_404"], "an opt-out of 0.5% is no reason for advice"


def test_nothing_kept_is_a_problem_with_advice() -> None:
    assert losses(NOTHING, 0.5) == losses(NOTHING, 1.0) == "none of 300 links was kept: url_refused 300"
    assert first_advice(NOTHING).startswith("url_refused: plain http(s) URLs on ports 80 and 443")
    assert "url_refused: plain" in crawl_table(NOTHING, "x").splitlines()[-1]


@pytest.mark.parametrize(
    ("share", "problem"),
    [
        (0.305, ""),
        (0.3, "305 of 1000 links were rejected, more than warn_rejected_frac = 0.3: no_caption 300, optout:noai 5"),
        (1.0, ""),
    ],
)
def test_many_rejections_are_a_problem(share: float, problem: str) -> None:
    assert losses(MIXED, share) == problem


def test_failures_alone_and_no_links_are_not_for_here() -> None:
    assert losses(Counts(num_in=10, kept=1, failed={"http_404": 9}), 0.5) == ""
    assert losses(Counts(num_in=0, kept=0), 0.5) == "" and first_advice(Counts(num_in=0, kept=0)) == ""
    assert crawl_table(Counts(num_in=0, kept=0), "x").splitlines()[1].split() == ["0", "0.0%", "kept"]


def test_every_reason_has_a_line() -> None:
    rejected = {reason: 1 for reason in REJECTED}
    failed = {reason if reason != "http" else "http_500": 1 for reason in FAILED}
    counts = Counts(num_in=len(rejected) + len(failed), kept=0, rejected=rejected, failed=failed)
    assert len(crawl_table(counts, "x").splitlines()) == 2 + counts.num_in + sum(
        name in rejected or name in failed for name in ADVICE
    )
