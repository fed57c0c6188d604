import pytest

from models.shared.blip_config import NetworkConfig


def test_defaults_are_the_papers_base_size():
    config = NetworkConfig()
    assert (config.image_width, config.num_image_layers, config.num_image_heads, config.patch_px) == (768, 12, 12, 16)
    assert (config.text_width, config.num_layers, config.num_heads, config.embed_width) == (768, 12, 12, 256)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_encoder": "resnet"}, "image_encoder must be one of efficientnet-lite0, vit, got 'resnet'"),
        ({"text_init": "bert"}, "text_init must be one of minilm, none, got 'bert'"),
        ({"pooling": "max"}, "pooling must be one of first, mean, got 'max'"),
        ({"sharing": "some"}, "sharing must be one of"),
        ({"image_px": 225}, "image_px must be a multiple of 16, got 225"),
        ({"feature_grid": 8}, "feature_grid must be in 1..7, got 8"),
        ({"max_tokens": 2}, "max_tokens must be in 3..512, got 2"),
        ({"dropout": 1.0}, "dropout must be in"),
        ({"num_layers": 0}, "num_layers must be at least 1, got 0"),
        ({"num_image_layers": -1}, "num_image_layers must be at least 0, got -1"),
        ({"num_image_heads": 7}, "num_image_heads must be a divisor of image_width = 768, got 7"),
        ({"num_heads": 7}, "num_heads must be a divisor of text_width = 768, got 7"),
        ({"text_init": "minilm"}, "text_width, num_heads must be"),
        (
            {"text_init": "minilm", "text_width": 384, "num_layers": 7},
            "num_layers must be <= 6 with text_init: minilm, got 7",
        ),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        NetworkConfig(**settings)
