import numpy as np
import pytest

from pipelines.filters.min_side import Config, Filter


def test_the_shorter_side_decides():
    columns = {"width": np.array([64, 63, 900, np.nan]), "height": np.array([64, 900, 63, 100])}
    assert Filter(Config(min_side_px=64)).keep(columns).tolist() == [True, False, False, False]


def test_settings_are_checked():
    with pytest.raises(ValueError, match="min_side_px must be at least 1, got 0"):
        Config(min_side_px=0)
