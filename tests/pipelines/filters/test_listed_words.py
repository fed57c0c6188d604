import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.filters.listed_words import Config, Filter
from pipelines.shared.files import digest_file


def listed(folder, text="Darn\nheck!\n\ncafé\n", **settings):
    path = folder / "words.txt"
    path.write_text(text, encoding="utf-8")
    return Filter(Config(file=str(path), sha256=digest_file(path), **settings))


TEXTS = np.array(["a darn cat", "DARN, heck", "darned cats", "", "12 %", "Café (heck) of a day"], dtype=object)
FRACS = [1 / 3, 1.0, 0.0, 0.0, 0.0, 2 / 5]


@pytest.mark.parametrize("limit", [0.0, 0.2, 1 / 3, 0.4, 0.9])
def test_captions_are_judged_by_the_share_of_listed_words(tmp_path, limit):
    few = listed(tmp_path, max_frac=limit).keep({"caption_text": TEXTS})
    assert few.tolist() == [frac <= limit for frac in FRACS]
    if limit:
        many = listed(tmp_path, min_frac=limit).keep({"caption_text": TEXTS})
        assert many.tolist() == [frac >= limit for frac in FRACS]


WORDS = ("darn", "heck", "cat", "dog", "sun")


@given(st.lists(st.sampled_from(WORDS), max_size=30), st.floats(0, 0.99))
def test_against_counting_by_hand(tmp_path_factory, words, limit):
    rule = listed(tmp_path_factory.mktemp("list"), "darn\nheck\n", max_frac=limit)
    text = np.array(["; ".join(words).upper()], dtype=object)
    bad = words.count("darn") + words.count("heck")
    assert rule.keep({"caption_text": text}).tolist() == [not words or bad / len(words) <= limit]


def test_two_lists_can_be_told_apart(tmp_path):
    assert listed(tmp_path, max_frac=0.1).reason == "listed_words"
    assert listed(tmp_path, min_frac=0.3, reason="few_stop_words").reason == "few_stop_words"


@pytest.mark.parametrize("line", ["two words", "---"])
def test_a_line_that_no_word_can_equal_is_refused(tmp_path, line):
    with pytest.raises(ValueError, match=f"a line must have one word, got '{line}'"):
        listed(tmp_path, f"darn\n{line}\n", max_frac=0.1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "min_frac or max_frac must be given"),
        ({"min_frac": 0.5, "max_frac": 0.4}, r"must be in \[0, 1\], in order, got 0.5, 0.4"),
        ({"max_frac": 1.1}, r"must be in \[0, 1\]"),
        ({"max_frac": 0.1, "reason": "Bad words"}, "reason must be a code"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        Config(file="words.txt", sha256="0" * 64, **settings)


def test_another_file_is_refused(tmp_path):
    (tmp_path / "words.txt").write_text("darn\n")
    with pytest.raises(ValueError, match="the settings say 0000"):
        Filter(Config(file=str(tmp_path / "words.txt"), sha256="0" * 64, max_frac=0.1))
