import numpy as np
import pytest

from pipelines.filters.min_words import Config, Filter


def test_keeps_captions_of_enough_words():
    keep = Filter(Config(min_words=3)).keep({"caption_words": np.array([0, 2, 3, 9])})
    assert keep.tolist() == [False, False, True, True]


def test_settings_are_checked():
    with pytest.raises(ValueError, match="min_words must be at least 1, got 0"):
        Config(min_words=0)
