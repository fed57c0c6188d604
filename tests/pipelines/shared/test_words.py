import string

import pytest

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


def test_only_ends_are_stripped():
    assert strip_special("--a-b--") == "a-b" and strip_special("--") == ""
