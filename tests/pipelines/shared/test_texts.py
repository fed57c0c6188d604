"""Captions from strangers."""

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.shared.texts import MAX_CAPTION_CHARS, clean_text, utf8_text


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("", ""),
        ("  a\n\tcat  ", "a cat"),
        ("a\x00cat", "a cat"),
        (" " * 9999 + "a cat", "a cat"),
        ("a\x1b[31mcat", "a [31mcat"),
        ("a\u2028cat\u2029", "a cat"),
        ("a\u202etac\u202c", "atac"),
        ("\ufeffcat", "cat"),
        ("e\u0301te\u0301", "été"),
        ("\ud83d", ""),
        ("👩‍👩‍👧", "👩‍👩‍👧"),
        ("❤️", "❤️"),
        ("🏴\U000e0067\U000e0062\U000e007f", "🏴\U000e0067\U000e0062\U000e007f"),
        ("می\u200cروم", "می\u200cروم"),
        ("क्\u200dष", "क्\u200dष"),
        ("co\u00adoperate", "co\u00adoperate"),
        ("\u200ba cat\u200e \u2060", "a cat"),
        ("\u200e \u200b", ""),
        ("\u0301", "\u0301"),
        ("=1+1", "=1+1"),
        ("<b>", "<b>"),
        ("مرحبا", "مرحبا"),
    ],
)
def test_examples(text: str, clean: str) -> None:
    assert clean_text(text) == clean


UNSEEN = "\u00ad\u034f\u061c\u115f\u1160\u17b4\u180b\u180e\u200b\u200c\u200d\u200e\u200f\u202e\u2060\u2063\u2066\u206a"
UNSEEN += (
    "\u2800\u3000\u3164\ufe00\ufe0f\ufeff\uffa0\ufff9\ufffc\u00a0\u1680\U000e0001\U000e0041\U000e0100\U0001d173 \n\0"
)


@given(st.text(st.sampled_from(UNSEEN), max_size=20))
def test_what_shows_nothing_is_no_caption(text: str) -> None:
    assert clean_text(text) == ""
    assert clean_text(f"{text}cat").endswith("cat")


def test_what_formats_alone_is_not_seen() -> None:
    """Every control and format character of Unicode, but the visible ones: signs of Arabic, Kaithi and Egyptian."""
    points = [chr(point) for point in range(sys.maxunicode + 1)]
    formats = [letter for letter in points if unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Zs", "Zl", "Zp")]
    seen = {letter for letter in formats if clean_text(letter)}
    assert {unicodedata.name(letter).split()[0] for letter in seen} <= {"ARABIC", "KAITHI", "EGYPTIAN", "SYRIAC"}


@given(st.text(alphabet=st.characters(), max_size=200))
def test_what_is_written_can_be_read(text: str) -> None:
    written = utf8_text(text)
    written.encode()
    assert written == text or any("\ud800" <= letter <= "\udfff" for letter in text)


@given(st.text(alphabet=st.characters(), max_size=200))
def test_one_form(text: str) -> None:
    clean = clean_text(text)
    assert clean_text(clean) == clean
    assert unicodedata.is_normalized("NFC", clean)
    assert clean == " ".join(clean.split()) and len(clean.splitlines()) <= 1
    clean.encode()


def test_length() -> None:
    assert len(clean_text("a" * 1_000_000)) == MAX_CAPTION_CHARS
    assert len(clean_text("a" + "\u0301" * 100_000)) <= MAX_CAPTION_CHARS
