import numpy as np
import pytest

from pipelines.filters.caption_patterns import Config, Filter

PATTERNS = (r"(?i)^photo by ", r"(?i)\.(png|jpe?g)$", r"^\d{4}-\d\d-\d\d$")


def test_any_match_rejects():
    texts = np.array(["Photo by Ann", "a photo by Ann", "IMG_1.JPG", "2024-01-31", "on 2024-01-31", ""], dtype=object)
    keep = Filter(Config(patterns=PATTERNS)).keep({"caption_text": texts})
    assert keep.tolist() == [False, True, False, False, True, True]


def test_no_captions():
    assert Filter(Config(patterns=PATTERNS)).keep({"caption_text": np.array([], dtype=object)}).tolist() == []


@pytest.mark.parametrize("patterns,message", [((), "at least one"), (("(",), r"'\(' is not a regular expression")])
def test_settings_are_checked(patterns, message):
    with pytest.raises(ValueError, match=message):
        Config(patterns=patterns)
