"""Ranges of the bounds, and who we say we are."""

import importlib.metadata

import pytest

from pipelines.shared.fetch_settings import FetchLimits, FetchSettings
from pipelines.shared.params import build


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("deadline_sec", 0.0),
        ("deadline_sec", 3601.0),
        ("connect_sec", -1.0),
        ("idle_sec", 0.0),
        ("min_bytes_per_sec", -1.0),
        ("backoff_sec", -0.1),
        ("retries", -1),
        ("max_redirects", -1),
        ("max_retry_after_sec", -1.0),
        ("connections", 0),
        ("connections", 5000),
        ("max_image_bytes", 0),
        ("max_clip_bytes", 2 << 30),
        ("max_page_bytes", -1),
    ],
)
def test_ranges(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"crawl.fetch: {name} must .*, got {value}"):
        build(FetchLimits, {name: value}, "crawl.fetch")


def test_stated_defaults() -> None:
    limits = FetchLimits()
    assert (limits.max_image_bytes, limits.deadline_sec, limits.max_redirects) == (20 << 20, 30.0, 5)


def test_user_agent() -> None:
    version = importlib.metadata.version("vignette")
    assert FetchSettings().user_agent == f"Vignette/{version}"
    assert FetchSettings(contact="a@b.c").user_agent == f"Vignette/{version} (+a@b.c)"
