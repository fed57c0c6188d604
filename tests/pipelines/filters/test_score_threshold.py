import numpy as np
import pytest

from pipelines.filters.score_threshold import Config, Filter, top_threshold


def keep(values, **settings):
    return Filter(Config(column="score", **settings)).keep({"score": np.asarray(values)}).tolist()


def test_limits_are_kept_and_nan_never():
    assert keep([0.1, 0.3, 0.5, np.nan], min_value=0.3) == [False, True, True, False]
    assert keep([0.1, 0.3, 0.5, np.nan], max_value=0.3) == [True, True, False, False]
    assert keep([1, 2, 3], min_value=2, max_value=2) == [False, True, False]
    assert keep([True, False], min_value=1) == [True, False]


@pytest.mark.parametrize("top_frac", [0.01, 0.3, 0.5, 0.999])
def test_top_fraction_is_datacomps_rule(top_frac):
    scores = np.random.default_rng(0).normal(size=997)
    threshold = sorted(scores, reverse=True)[int(997 * top_frac)]
    fitted = Filter(Config(column="score", top_frac=top_frac)).fitted({"score": scores})
    assert fitted.keep({"score": scores}).tolist() == (scores >= threshold).tolist()
    assert fitted.keep({"score": scores}).sum() == int(997 * top_frac) + 1
    assert fitted.thresholds() == {"min_value": threshold}


def test_ties_are_kept():
    scores = np.array([3.0, 2.0, 2.0, 2.0, 1.0])
    assert Filter(Config(column="s", top_frac=0.3)).fitted({"s": scores}).keep({"s": scores}).sum() == 4


def test_rows_without_a_value_do_not_count():
    assert top_threshold(np.array([np.nan, 4.0, np.nan, 3.0, 2.0, 1.0]), 0.5) == 2.0
    assert np.isnan(top_threshold(np.array([np.nan]), 0.5))


def test_all_of_it():
    assert top_threshold(np.array([2.0, 1.0]), 1.0) == 1.0


def test_must_be_fitted_first():
    with pytest.raises(AssertionError, match="must be fitted"):
        Filter(Config(column="s", top_frac=0.5)).keep({"s": np.array([1.0])})


def test_text_is_refused():
    with pytest.raises(ValueError, match="does not hold numbers"):
        keep(np.array(["a"], dtype=object), min_value=1)


@pytest.mark.parametrize(
    "settings,message",
    [
        ({}, "one of min_value, max_value and top_frac"),
        ({"top_frac": 0.5, "min_value": 1.0}, "exclude each other"),
        ({"top_frac": 0.0}, r"top_frac must be in \(0, 1\], got 0.0"),
        ({"top_frac": 1.5}, "top_frac must be"),
        ({"min_value": 2.0, "max_value": 1.0}, "greater than max_value"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        Config(column="score", **settings)


def test_reason_names_the_column():
    assert Filter(Config(column="clip_score", scope="caption", min_value=1.0)).reason == "threshold_clip_score"
