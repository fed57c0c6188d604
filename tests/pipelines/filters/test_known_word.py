import numpy as np
import pytest

from pipelines.filters.known_word import Config, Filter
from pipelines.shared.files import digest_file


@pytest.fixture
def words(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("Dog\ncat\ncats\n")
    return {"file": str(path), "sha256": digest_file(path)}


TEXTS = np.array(["a Dog", "two CATS run", "a dog.", "catalogue", "", "cat and\tdog"], dtype=object)


def test_words_are_between_white_space_and_in_lower_case(words):
    assert Filter(Config(**words)).keep({"caption_text": TEXTS}).tolist() == [True, True, False, False, False, True]


def test_more_than_one_can_be_asked_for(words):
    assert Filter(Config(**words, min_words=2)).keep({"caption_text": TEXTS}).tolist() == [False] * 5 + [True]
    with pytest.raises(ValueError, match="min_words must be at least 1, got 0"):
        Config(**words, min_words=0)
