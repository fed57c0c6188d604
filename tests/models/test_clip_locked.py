"""Locked tuning: what is trained, what is cached, and that the heads align what they have not seen."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from models import Batch
from models.clip_locked import Config, Model
from models.shared.contrastive import DualEncoder
from models.shared.packaged import image_tower, text_tower

CAPTIONS = ["a red circle", "a small blue square on white", "two dogs"]


def tiny(**settings: Any) -> tuple[Model, Batch]:
    torch.manual_seed(0)
    model = Model(Config(**{"embed_dim": 16, **settings}), {})
    image = torch.rand(3, 3, 224, 224, generator=torch.Generator().manual_seed(1)) * 2 - 1
    return model, {"image": image, "caption": CAPTIONS}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_only_heads_and_temperature_are_trained_and_saved() -> None:
    model, _ = tiny()
    names = {name for name, _ in model.named_parameters()}
    assert {name.split(".")[0] for name in names} == {"image_head", "text_head", "log_scale"}
    assert set(model.state_dict()) == names
    assert sum(p.numel() for p in model.parameters()) == (1280 + 384) * 16 + 2 * 16 + 2 * (1280 + 384) + 1
    assert isinstance(model, DualEncoder)


def test_features_are_those_of_the_packaged_towers() -> None:
    model, batch = tiny()
    model.train()
    features = model.frozen_features(batch)
    assert set(features) == set(model.feature_sources) == set(model.batch_keys)
    with torch.no_grad():
        torch.testing.assert_close(features["image_feature"], image_tower()(batch["image"]), rtol=0, atol=0)
        torch.testing.assert_close(features["text_feature"], text_tower()(CAPTIONS), rtol=0, atol=0)
    assert set(model.frozen_features({"caption": CAPTIONS})) == {"text_feature"}
    assert set(model.frozen_features({"image": batch["image"]})) == {"image_feature"}


@torch.no_grad()
def test_encoding_is_features_and_heads() -> None:
    model, batch = tiny()
    features = model.eval().frozen_features(batch)
    image, text = model.embed_pairs(features)
    torch.testing.assert_close(model.encode_image(batch["image"]), image)
    torch.testing.assert_close(model.encode_text(batch["caption"]), text)
    head = model.image_head[2]
    expected = functional.layer_norm(features["image_feature"], (1280,)) @ head.weight.T + head.bias
    torch.testing.assert_close(image, expected / expected.norm(dim=1, keepdim=True))


def test_dropout_is_on_in_training_only_and_follows_the_generator() -> None:
    model, batch = tiny(dropout=0.5)
    features = model.frozen_features(batch)
    first, again, other = (model.embed(features, generator(seed))["visual"] for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    model.eval()
    assert torch.equal(*(model.embed(features, generator(seed))["visual"] for seed in (0, 1)))


def planted(num_pairs: int, seed: int) -> dict[str, Tensor]:
    """Features that are linear functions of the same eight hidden numbers, with noise."""
    maps = generator(7)
    to_image, to_text = torch.randn(8, 1280, generator=maps), torch.randn(8, 384, generator=maps)
    draw = generator(seed)
    hidden = torch.randn(num_pairs, 8, generator=draw)
    image = hidden @ to_image + torch.randn(num_pairs, 1280, generator=draw)
    text = functional.normalize(hidden @ to_text + torch.randn(num_pairs, 384, generator=draw), dim=1)
    return {"image_feature": image, "text_feature": text}


def test_heads_align_pairs_that_they_have_not_seen() -> None:
    model, _ = tiny()
    train, held_out = planted(256, seed=1), planted(64, seed=2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(40):
        optimizer.zero_grad()
        model.training_step(train, generator(step))["main"].backward()
        optimizer.step()
        model.after_step()
    with torch.no_grad():
        image, text = model.eval().embed_pairs(held_out)
    recall = (image @ text.T).argmax(dim=1).eq(torch.arange(64)).float().mean()
    assert recall > 0.9


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"embed_dim": 0}, "embed_dim must be at least 1, got 0"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
        ({"temperature": 2.0}, r"temperature must be in \[0.01, 1\], got 2.0"),
    ],
)
def test_config_is_checked(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Config(**settings)
