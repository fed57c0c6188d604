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


def test_strict_limits_leave_the_number_out():
    assert keep([1, 2, 3], above=2) == [False, False, True]
    assert keep([1, 2, 3], below=2) == [True, False, False]
    assert keep([0.1, 0.3, np.nan], above=0.1, max_value=0.3) == [False, True, False]


def test_rows_without_a_value_can_be_kept():
    assert keep([0.1, 0.5, np.nan], min_value=0.3, keep_missing=True) == [False, True, True]


def test_quantiles_are_numpys_over_rows_with_a_value():
    scores = np.random.default_rng(1).normal(size=500)
    scores[::7] = np.nan
    fitted = Filter(Config(column="s", min_quantile=0.1, max_quantile=0.85)).fitted({"s": scores})
    low, high = np.nanquantile(scores, [0.1, 0.85])
    assert fitted.thresholds() == {"min_value": low, "max_value": high}
    assert fitted.keep({"s": scores}).tolist() == ((scores >= low) & (scores <= high)).tolist()


def test_sigmas_are_from_the_mean():
    scores = np.array([2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0, np.nan])  # mean 5, standard deviation 2
    fitted = Filter(Config(column="s", sigmas=1.5)).fitted({"s": scores})
    assert fitted.thresholds() == {"min_value": 2.0, "max_value": 8.0}
    assert fitted.keep({"s": scores}).tolist() == [True] * 7 + [False, False]


def test_nothing_to_fit_to():
    with pytest.raises(ValueError, match="no row has a value in s to fit a threshold to"):
        Filter(Config(column="s", sigmas=1.0)).fitted({"s": np.array([np.nan])})


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
    scores = np.array([np.nan, 4.0, np.nan, 3.0, 2.0, 1.0])
    assert Filter(Config(column="s", top_frac=0.5)).fitted({"s": scores}).thresholds() == {"min_value": 2.0}


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
        ({}, "one of min_value, above, top_frac, min_quantile, sigmas, max_value, below, max_quantile must be given"),
        ({"top_frac": 0.5, "min_value": 1.0}, "min_value and top_frac exclude each other"),
        ({"sigmas": 1.0, "below": 1.0}, "below and sigmas exclude each other"),
        ({"sigmas": 0.0}, "sigmas must be above 0, got 0.0"),
        ({"min_quantile": 1.5}, r"min_quantile must be in \[0, 1\], got 1.5"),
        ({"min_quantile": 0.5, "max_quantile": 0.4}, "min_quantile 0.5 is greater than max_quantile 0.4"),
        ({"min_value": float("nan")}, "min_value must be finite, got nan"),
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
