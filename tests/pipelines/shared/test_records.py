"""Keys, captions, samples."""

import dataclasses
import hashlib

import pytest

from pipelines.shared.records import KEY, REASON, Caption, Link, Sample, sample_key

CAPTION = Caption(text="a", origin="web")


def test_key() -> None:
    assert sample_key("s", "http://a") == hashlib.sha256(b"s\x00http://a").hexdigest()[:20]
    assert KEY.fullmatch(sample_key("s", "ü")) and sample_key("s", "http://a") != sample_key("sh", "ttp://a")


@pytest.mark.parametrize("reason", ["empty", "http_404", "optout:noai", "crawl:http_404", "optout:tdm-reservation"])
def test_reasons(reason: str) -> None:
    assert REASON.fullmatch(reason)


@pytest.mark.parametrize("reason", ["", "Empty", "no caption", "a:b:c", ":a", "a:", "404"])
def test_no_reasons(reason: str) -> None:
    assert not REASON.fullmatch(reason)


def test_caption() -> None:
    assert CAPTION.as_dict() == {"text": "a", "origin": "web", "place": "", "model_sha256": "", "scores": {}}
    assert Caption(**CAPTION.as_dict()) == CAPTION
    with pytest.raises(ValueError, match="origin must be one of web, human, synthetic, got 'bot'"):
        Caption(text="a", origin="bot")


def test_records_do_not_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        CAPTION.text = "b"
    with pytest.raises(dataclasses.FrozenInstanceError):
        Link(url="x").url = "y"


@pytest.mark.parametrize(
    ("key", "extension", "message"),
    [
        ("short", "png", "20 hex digits"),
        ("A" * 20, "png", "20 hex digits"),
        ("0" * 20, "gif", "extension must be one of jpg, png, webp, mp4, got 'gif'"),
        ("0" * 20, "txt", "extension must be one of"),
    ],
)
def test_samples_that_are_none(key: str, extension: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Sample(key=key, extension=extension, media=b"", captions=())


def test_sample() -> None:
    assert Sample(key="0" * 20, extension="mp4", media=b"", captions=()).is_video
    assert not Sample(key="0" * 20, extension="png", media=b"", captions=()).is_video
