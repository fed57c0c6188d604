import numpy as np
import pytest

from pipelines.filters.language import Config, Filter

FOUND = {
    "caption_language": np.array(["en", "de", None, "en", "eng"], dtype=object),
    "caption_language_confidence": np.array([0.9, 0.99, np.nan, 0.79, 1.0]),
}


@pytest.mark.parametrize(
    "settings,kept",
    [
        ({"languages": ("en",)}, [True, False, False, True, False]),
        ({"languages": ("en", "de")}, [True, True, False, True, False]),
        ({"languages": ("en",), "min_confidence": 0.8}, [True, False, False, False, False]),
        ({"languages": ("en",), "min_confidence": 0.79}, [True, False, False, True, False]),
    ],
)
def test_languages_and_confidence(settings, kept):
    assert Filter(Config(**settings)).keep(FOUND).tolist() == kept


def test_a_confidence_is_read_only_if_it_is_asked_for():
    assert Filter(Config(languages=("en",))).columns == ("caption_language",)
    other = Config(languages=("en",), min_confidence=0.5, language_column="gcld3", confidence_column="gcld3_p")
    assert Filter(other).columns == ("gcld3", "gcld3_p")


@pytest.mark.parametrize(
    "settings,message",
    [({"languages": ()}, "at least one"), ({"languages": ("en",), "min_confidence": 2.0}, "got 2.0")],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        Config(**settings)
