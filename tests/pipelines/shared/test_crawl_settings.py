"""Settings of the crawl as `params.yaml` gives them."""

import pickle
from pathlib import Path
from typing import Any

import pytest

from pipelines.shared.crawl_settings import CrawlSettings, SourceEntry, fetch_settings
from pipelines.shared.params import build, split_settings


def test_nested_sections() -> None:
    values = {"contact": "a@b.c", "fetch": {"retries": 0, "deadline_sec": 5}, "media": {"max_pixels": 1000}}
    settings = build(CrawlSettings, values, "crawl")
    assert (settings.fetch.retries, settings.fetch.deadline_sec, settings.media.max_pixels) == (0, 5.0, 1000)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"contakt": "x"}, "crawl.contakt is not a setting .did you mean contact?"),
        ({"fetch": {"retrys": 1}}, "crawl.fetch.retrys is not a setting .did you mean retries?"),
        ({"media": {"max_pixels": 10**9}}, "crawl.media: max_pixels must be from 1 to 50000000, got 1000000000"),
        ({"fetch": {"retries": 1.5}}, "crawl.fetch.retries must be int, got 1.5"),
        ({"contact": "a\nb"}, "contact must be printable ASCII"),
        ({"contact": "ü@b.c"}, "contact must be printable ASCII"),
        ({"decode_sec": 0}, "decode_sec must be above 0, got 0"),
        ({"decode_memory_mib": 10}, "decode_memory_mib must be at least 256, got 10"),
    ],
)
def test_mistakes(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(CrawlSettings, values, "crawl")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("samples_per_shard", 0),
        ("samples_per_shard", 10_001),
        ("max_failed_frac", 1.1),
        ("requests_per_host", 0),
        ("delay_sec", -1.0),
    ],
)
def test_entry_ranges(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"sources.a: {name} must be from .*, got {value}"):
        build(SourceEntry, {name: value}, "sources.a")


def test_entry_and_plugin_share_a_mapping() -> None:
    own, rest = split_settings(SourceEntry, {"module": "m", "serve": "site", "start": "x"}, "sources.a")
    assert own.serve == "site" and rest == {"module": "m", "start": "x"}


def test_contact_is_needed_to_leave_this_machine() -> None:
    with pytest.raises(ValueError, match=r"crawl.contact must be your URL or mail address"):
        fetch_settings(CrawlSettings(), SourceEntry(), None)
    served = fetch_settings(CrawlSettings(), SourceEntry(), 4321)
    assert served.guard.only_served and served.guard.served_port == 4321
    remote = fetch_settings(CrawlSettings(contact="a@b.c"), SourceEntry(delay_sec=2.0), None)
    assert not remote.guard.only_served and remote.delay_sec == 2.0 and remote.pace_folder == Path(".vignette/pace")


def test_settings_travel_to_workers() -> None:
    settings = fetch_settings(CrawlSettings(contact="a@b.c"), SourceEntry(), 4321)
    assert pickle.loads(pickle.dumps(settings)) == settings
