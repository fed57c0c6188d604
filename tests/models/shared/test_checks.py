import pytest

from models.shared.checks import require, require_one_of


def test_message_names_setting_value_and_range():
    with pytest.raises(ValueError, match=r"^eta must be in \[0, 1\], got 2$"):
        require(False, "eta", 2, "in [0, 1]")
    require(True, "eta", 0.5, "in [0, 1]")


def test_message_lists_the_names():
    with pytest.raises(ValueError, match=r"^sampler must be one of ddim, ddpm, got 'dpm'$"):
        require_one_of("sampler", "dpm", ("ddpm", "ddim"))
    require_one_of("sampler", "ddim", ("ddpm", "ddim"))
