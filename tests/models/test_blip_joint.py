from typing import Any

import pytest
import torch

from models import Batch, Stepping, capabilities
from models.blip import Config as BlipConfig
from models.blip import Model as Blip
from models.blip_joint import Config, Model

SIZES = {
    **{"image_px": 16, "patch_px": 8, "image_width": 16, "num_image_layers": 1, "num_image_heads": 2},
    **{"text_width": 16, "num_layers": 1, "num_heads": 2, "embed_width": 8, "queue_size": 4},
}
CAPTIONS = ["a red circle", "a small blue square on white", "two dogs", "a cat"]


def pretrained(**settings: Any) -> Blip:
    torch.manual_seed(0)
    return Blip(BlipConfig(**{**SIZES, **settings}), {})


def tiny(base: Blip | None = None, **settings: Any) -> tuple[Model, Batch]:
    base = base or pretrained()
    torch.manual_seed(1)
    model = Model(Config(**{"queue_size": 4, "alpha_warmup_steps": 5, **settings}), {"blip": base})
    image = torch.rand(4, 3, model.image_px, model.image_px, generator=torch.Generator().manual_seed(1)) * 2 - 1
    return model, {"image": image, "caption": CAPTIONS, "group": torch.arange(4)}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_capabilities() -> None:
    model, _ = tiny()
    assert isinstance(model, Stepping)
    assert capabilities(Model) == {"caption", "encode_image", "encode_text", "match"}


def test_loss_is_that_of_pretraining() -> None:
    base = pretrained(dropout=0.0, alpha_warmup_steps=5)
    model, batch = tiny(base)
    model.alignment.load_state_dict(base.alignment.state_dict())  # its queue starts from random
    expected, found = base.training_step(batch, generator()), model.training_step(batch, generator())
    assert set(found) == {"main", "main/itc", "main/itm", "main/lm"}
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)


def test_all_of_the_network_is_trained_and_the_base_stays() -> None:
    base = pretrained()
    before = {name: value.clone() for name, value in base.state_dict().items()}
    base.requires_grad_(False)
    model, batch = tiny(base)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model.training_step(batch, generator())["main"].backward()
    assert [name for name, p in model.network.named_parameters() if p.requires_grad and p.grad is None] == []
    assert [name for name, p in model.network.named_parameters() if not p.requires_grad] == []
    optimizer.step()
    model.after_step()
    assert all(torch.equal(value, before[name]) for name, value in base.state_dict().items())


def test_caption_and_match_use_one_network() -> None:
    model, batch = tiny()
    model.eval()
    texts = model.caption(batch["image"], [generator(i) for i in range(4)], max_tokens=5, min_tokens=1)
    probability = model.match(batch["image"], texts)
    assert len(texts) == 4 and probability.shape == (4,)
    assert ((probability >= 0) & (probability <= 1)).all()
    torch.testing.assert_close(model.encode_image(batch["image"]).norm(dim=1), torch.ones(4))
    torch.testing.assert_close(model.encode_text(texts).norm(dim=1), torch.ones(4))
    with torch.no_grad():
        model.network.med.embeddings.encoder.word.weight.mul_(3)
    assert not torch.equal(model.match(batch["image"], texts), probability)


@pytest.mark.parametrize(
    "name,value", [("max_tokens", 2), ("label_smoothing", 1.0), ("image_px", -1), ("queue_size", 0)]
)
def test_settings_out_of_range(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=name):
        Config(**{name: value})
