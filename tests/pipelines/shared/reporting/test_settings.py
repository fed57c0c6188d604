"""Settings of the report are checked."""

import pytest

from pipelines.shared.params import build
from pipelines.shared.reporting.settings import ReportEntry


def test_defaults_and_pairs() -> None:
    assert build(ReportEntry, {"pairs": (("a", "b"),)}, "report").pairs == (("a", "b"),)


@pytest.mark.parametrize("values", [{"pairs": (("a",),)}, {"num_resamples": 1}, {"titel": "x"}])
def test_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"params\.yaml: report"):
        build(ReportEntry, values, "report")
