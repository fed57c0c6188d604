import string
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.shared.words import (
    IGNORED,
    alphanumeric_runs,
    alphanumerics,
    is_special,
    spelled_words,
    strip_special,
    words_of,
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        (" - 42 %\t!", []),
        ('A "Fox" jumps,\nhigh...', ["a", "fox", "jumps", "high"]),
        ("don't re-use 3-D #tags_", ["don't", "re-use", "d", "tags"]),
        ("Ünï ÇÖDÉ 🦊狐", ["ünï", "çödé", "狐"]),
    ],
)
def test_words(text, words):
    assert words_of(text) == words


def test_special_characters_are_no_letters_in_any_script():
    assert all(is_special(character) for character in string.punctuation + string.digits + " \n🦊©")
    assert not any(is_special(character) for character in "aZé狐ёعが\u0301")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("काला कुत्ता।", ["काला", "कुत्ता"]),
        ("ஒரு பூனை", ["ஒரு", "பூனை"]),
        ("แมวดำ", ["แมวดำ"]),
        ("שָׁלוֹם!", ["שָׁלוֹם"]),
        ("«قِطَّة»", ["قِطَّة"]),
        ("cafe\u0301,", ["cafe\u0301"]),
        ("می\u200cروم", ["میروم"]),
        ("co\u00adoperate \u3164 a\u200bcat", ["cooperate", "a", "cat"]),
        ("❤️ 1\ufe0f\u20e3 \u200e", []),
        ("İSTANBUL Straße", ["istanbul", "straße"]),
    ],
)
def test_words_of_other_scripts(text, words):
    assert words_of(text) == words


def test_letters_and_digits_with_their_marks():
    assert [alphanumerics(text) for text in ("a cat, 3!", "कुत्ता", "cafe\u0301", "a\u200d_\u0301", "\u0301", "")] == [
        5,
        6,
        5,
        1,
        0,
        0,
    ]
    assert alphanumeric_runs().findall("कुत्ता-1 b\u0301_c") == ["कुत्ता", "1", "b\u0301", "c"]
    assert spelled_words().findall("कुत्ता's re-use, l'\u00e9te\u0301") == ["कुत्ता's", "re-use", "l'\u00e9te\u0301"]


def test_all_marks_are_known():
    """The class that is made for `re` leaves none out."""
    for point in range(sys.maxunicode + 1):
        if unicodedata.category(chr(point)) in ("Mn", "Mc", "Me") and not IGNORED.match(chr(point)):
            assert alphanumeric_runs().fullmatch("a" + chr(point)), hex(point)


@given(st.text(max_size=12))
def test_against_strip(text):
    special = "".join(character for character in set(text) if is_special(character))
    assert strip_special(text) == (text.strip(special) if special else text)


def test_only_ends_are_stripped():
    assert strip_special("--a-b--") == "a-b" and strip_special("--") == ""
