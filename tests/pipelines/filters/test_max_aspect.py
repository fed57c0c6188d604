import numpy as np
import pytest

from pipelines.filters.max_aspect import Config, Filter


def test_both_directions_count_and_the_limit_is_kept():
    columns = {"width": np.array([300, 100, 301, 100, np.nan]), "height": np.array([100, 300, 100, 301, 1])}
    assert Filter(Config(max_aspect=3.0)).keep(columns).tolist() == [True, True, False, False, False]


@pytest.mark.parametrize("value", [0.5, float("nan")])
def test_settings_are_checked(value):
    with pytest.raises(ValueError, match="max_aspect must be at least 1"):
        Config(max_aspect=value)
