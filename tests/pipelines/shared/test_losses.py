from collections import Counter
from types import SimpleNamespace

import pytest

from pipelines.shared.losses import Losses


def test_counts_and_first_places(caplog: pytest.LogCaptureFixture) -> None:
    losses, fetcher = Losses("mine.csv"), SimpleNamespace(page_counts=Counter(fetched=1, row_misfit=1))
    for number in range(8):
        losses.add("row_misfit", f"line {number}: 3 cells")
    losses.add("no_url")
    losses.report(fetcher)
    assert fetcher.page_counts == {"fetched": 1, "row_misfit": 9, "no_url": 1}
    (record,) = caplog.records
    places = "; ".join(f"line {number}: 3 cells" for number in range(5))
    assert record.getMessage() == f"mine.csv: 8 row_misfit: {places}; and 3 more"
    assert losses.first("other") == ""


def test_nobody_may_count(caplog: pytest.LogCaptureFixture) -> None:
    Losses("mine.csv").report(None)
    assert not caplog.records
