import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.annotators import AnnotatorInput
from pipelines.annotators.caption_quality import Annotator, Config, character_repetition, word_repetition
from tests.pipelines.builders import captions, drawing


def annotate(*texts: str, **settings):
    image = drawing(0)
    sample = AnnotatorInput(key="0" * 20, media="image", image=image, first_image=image, captions=captions(*texts))
    return Annotator(Config(**settings)).annotate([sample])[0]


@pytest.mark.parametrize(
    "text,length,expected",
    [
        ("", 3, 0.0),
        ("ab", 3, 0.0),
        ("abcdef", 3, 0.0),  # nothing twice
        ("aaaaaa", 3, 1.0),  # one trigram, four times
        ("abababab", 2, 4 / 7),  # ab four times, ba three times; of 2 different ones floor(sqrt(2)) = 1 counts
        ("abcdabcdabcd", 4, 5 / 9),  # abcd three times, the other three twice; of 4 different ones 2 count
    ],
)
def test_character_repetition_by_hand(text, length, expected):
    assert character_repetition(text, length) == pytest.approx(expected)


@given(st.text("ab c", max_size=40), st.integers(1, 4))
def test_character_repetition_by_brute_force(text, length):
    grams = [text[i : i + length] for i in range(len(text)) if i + length <= len(text)]
    different = sorted(set(grams), key=lambda gram: -grams.count(gram))
    top = [gram for gram in different[: int(math.sqrt(len(different)))] if grams.count(gram) >= 2]
    expected = sum(gram in top for gram in grams) / len(grams) if grams else 0.0
    assert character_repetition(text, length) == pytest.approx(expected)


@pytest.mark.parametrize(
    "text,length,expected",
    [
        ("", 2, 0.0),
        ("one two", 3, 0.0),
        ("sale sale sale", 1, 1.0),
        ("Red fox, red FOX! blue", 2, 2 / 4),  # red fox twice; fox red, fox blue once
        ("a 1 b", 1, 0.0),
        ("1 1 1", 1, 0.0),  # nothing is left of words of digits
    ],
)
def test_word_repetition_by_hand(text, length, expected):
    assert word_repetition(text, length) == pytest.approx(expected)


@given(st.lists(st.sampled_from(["a", "b", "c"]), max_size=25), st.integers(1, 4))
def test_word_repetition_by_brute_force(words, length):
    grams = [words[i : i + length] for i in range(len(words) - length + 1)]
    expected = sum(grams.count(gram) > 1 for gram in grams) / len(grams) if grams else 0.0
    assert word_repetition(" ".join(words), length) == pytest.approx(expected)

    assert annotate("ab 12", "", "赤い狐")["caption_special_frac"] == pytest.approx([3 / 5, 0.0, 0.0])


@pytest.mark.parametrize(
    "text,expected",
    [
        ("a red fox in the snow", 0.0),
        ("Royalty-free stock photo", 1.0),
        ("fox.jpg", 1.0),
        ("fox 800x600", 7 / 10),
        ("Photo by Ann", 7 / 10),
        ("© Ann", 1 / 4),
        ("", 0.0),
    ],
)
def test_boilerplate(text, expected):
    assert annotate(text)["caption_boilerplate_frac"] == pytest.approx([expected])


def test_special_characters_are_shares_of_what_is_seen():
    found = annotate("काला", "a\u200d\u200c\ufe0fb", "a, b", "\u200e")["caption_special_frac"]
    assert found == [0.0, 0.0, 0.5, 0.0]


def test_overlapping_patterns_count_once():
    assert annotate("abcd", boilerplate=("abc", "bc"))["caption_boilerplate_frac"] == [0.75]


def test_long_captions_take_no_long_time():
    annotate("x" * 2000, "a.b-" * 500, "stock " * 300, "1x" * 1000)


@pytest.mark.parametrize(
    "settings,message",
    [
        ({"character_ngram": 0}, "character_ngram must be at least 1, got 0"),
        ({"word_ngram": 0}, "word_ngram must be at least 1, got 0"),
        ({"boilerplate": ("(",)}, r"boilerplate: '\(' is not a regular expression"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        Config(**settings)
