import pytest
import torch

from pipelines.shared.towers import load_image_tower, load_text_tower


@pytest.mark.parametrize("load", [load_image_tower, load_text_tower])
def test_loaded_once_on_one_thread(load):
    torch.set_num_threads(2)
    load.cached.cache_clear()
    tower = load()
    assert torch.get_num_threads() == 1 and not tower.training
    assert load() is tower
    torch.set_deterministic_debug_mode("default")
