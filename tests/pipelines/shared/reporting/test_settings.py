"""Settings of the report are checked."""

import pytest

from pipelines.shared.params import build
from pipelines.shared.reporting.settings import ReportEntry


def test_defaults_pairs_and_licences() -> None:
    entry = build(ReportEntry, {"pairs": (("a", "b"),), "licences": {"site": "CC0-1.0"}}, "report")
    assert entry.pairs == (("a", "b"),)
    assert entry.licences == {"site": "CC0-1.0"}


@pytest.mark.parametrize(
    "values",
    [
        {"pairs": (("a",),)},
        {"num_resamples": 1},
        {"titel": "x"},
        {"licences": {"site": " "}},
        {"licences": {"site": "a\nb"}},
        {"num_sample_examples": 0},
        {"num_caption_examples": 0},
    ],
)
def test_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"params\.yaml: report"):
        build(ReportEntry, values, "report")
