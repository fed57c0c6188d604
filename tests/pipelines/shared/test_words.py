import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.shared.words import is_special, strip_special, words_of


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


@given(st.text(max_size=12))
def test_against_strip(text):
    special = "".join(character for character in set(text) if is_special(character))
    assert strip_special(text) == (text.strip(special) if special else text)


def test_only_ends_are_stripped():
    assert strip_special("--a-b--") == "a-b" and strip_special("--") == ""
