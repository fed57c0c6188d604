"""Opt-outs: a table of headers and what they mean for the robot `vignette`."""

import pytest

from pipelines.shared.optouts import SIGNALS, directive_signal, directives, header_signal

TABLE = [
    (["noai"], "noai"),
    (["NOAI"], "noai"),
    (["noimageai"], "noimageai"),
    (["noml"], "noml"),
    (["noindex"], "noindex"),
    (["noimageindex"], "noimageindex"),
    (["none"], "none"),
    (["noindex, nofollow"], "noindex"),
    (["nofollow, noai"], "noai"),
    (["noimageai,noai"], "noai"),
    (["  noai  "], "noai"),
    (["noai;"], "noai"),
    (["nofollow; noai"], "noai"),
    (["max-snippet:-1, noai"], "noai"),
    (["noai, max-snippet:-1"], "noai"),
    (["max-image-preview: large, noimageai"], "noimageai"),
    (["max-video-preview:-1,noindex"], "noindex"),
    (["noai, unavailable_after: 25 Jun 2030 15:00:00 GMT"], "noai"),
    (["unavailable_after: 25 Jun 2030 15:00:00 GMT, noai"], "noai"),
    (["unavailable_after: Wed, 25 Jun 2030 15:00:00 GMT, noai"], "noai"),
    (["vignette: noai"], "noai"),
    (["Vignette: noindex"], "noindex"),
    (["*: noai"], "noai"),
    (["otherbot: nofollow, noai"], "noai"),
    (["otherbot: nofollow", "noimageai"], "noimageai"),
    (["all", "noai"], "noai"),
    (["vignette: all, otherbot: noai, vignette: noml"], "noml"),
    (["otherbot: noai"], ""),
    (["otherbot: noindex", "googlebot: noai"], ""),
    (["all"], ""),
    (["index, follow"], ""),
    (["nofollow"], ""),
    (["noarchive"], ""),
    (["nosnippet, notranslate"], ""),
    (["max-snippet:-1"], ""),
    (["unavailable_after: 25 Jun 2030 15:00:00 GMT"], ""),
    (["unavailable_after: noai"], ""),
    (["noaix"], ""),
    (["xnoai"], ""),
    (["no ai"], ""),
    ([""], ""),
    ([",,;"], ""),
    ([":noai"], ""),
    ([], ""),
]


@pytest.mark.parametrize(("values", "signal"), TABLE)
def test_robots_tag(values: list[str], signal: str) -> None:
    assert directive_signal(values, "vignette") == signal
    assert header_signal(values, "", "", "vignette") == signal


def test_table_covers_every_signal() -> None:
    assert {signal for _, signal in TABLE} - {""} == set(SIGNALS)


def test_directives_without_a_value() -> None:
    assert directives(["nofollow, max-snippet:-1", "other: noai"], "vignette") == {"nofollow"}


@pytest.mark.parametrize(
    ("reservation", "usage", "signal"),
    [
        ("1", "", "tdm-reservation"),
        (" 1 ", "", "tdm-reservation"),
        ("0", "", ""),
        ("yes", "", ""),
        ("", "train-ai=n", "content-usage"),
        ("", "search=y, train-ai = N", "content-usage"),
        ("", "train-genai=n;q=1", "content-usage"),
        ("", "train-ai=y", ""),
        ("", "train-ai=no", ""),
        ("", "untrain-ai=n", ""),
    ],
)
def test_other_headers(reservation: str, usage: str, signal: str) -> None:
    assert header_signal([], reservation, usage, "vignette") == signal
