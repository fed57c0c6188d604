"""Captions from strangers."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.shared.texts import MAX_CAPTION_CHARS, clean_text


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("", ""),
        ("  a\n\tcat  ", "a cat"),
        ("a\x00cat", "a cat"),
        ("a\x1b[31mcat", "a [31mcat"),
        ("a\u2028cat\u2029", "a cat"),
        ("a\u202etac\u202c", "atac"),
        ("\ufeffcat", "cat"),
        ("e\u0301te\u0301", "été"),
        ("\ud83d", ""),
        ("👩‍👩‍👧", "👩‍👩‍👧"),
        ("=1+1", "=1+1"),
        ("<b>", "<b>"),
        ("مرحبا", "مرحبا"),
    ],
)
def test_examples(text: str, clean: str) -> None:
    assert clean_text(text) == clean


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
