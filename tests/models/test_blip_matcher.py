from typing import Any

import pytest
import torch

from models import Batch, Stepping, capabilities
from models.blip import Config as BlipConfig
from models.blip import Model as Blip
from models.blip_matcher import Config, Model

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


def test_trains_what_the_encoders_use() -> None:
    model, batch = tiny()
    model.training_step(batch, generator())["main"].backward()
    assert [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None] == []
    frozen = {name for name, p in model.network.named_parameters() if not p.requires_grad}
    assert frozen
    assert all("self_attention.decoder" in name or "med.head" in name for name in frozen)


def test_loss_is_the_sum_of_its_terms() -> None:
    model, batch = tiny()
    losses = model.training_step(batch, generator())
    assert set(losses) == {"main", "main/itc", "main/itm"}
    torch.testing.assert_close(losses["main"].detach(), losses["main/itc"] + losses["main/itm"])


def test_momentum_encoders_start_as_the_pretrained_network() -> None:
    base = pretrained()
    with torch.no_grad():
        base.network.image_projection.weight += 1
    model, _ = tiny(base)
    for name, value in model.alignment.momentum.named_parameters():
        assert torch.equal(value, base.network.get_parameter(name))


def test_base_stays_as_it_was_and_the_copy_moves() -> None:
    base = pretrained()
    before = {name: value.clone() for name, value in base.state_dict().items()}
    model, batch = tiny(base, momentum=0.5)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model.training_step(batch, generator())["main"].backward()
    optimizer.step()
    model.after_step()
    assert all(torch.equal(value, before[name]) for name, value in base.state_dict().items())
    name = "image_projection.weight"
    middle = (before[f"network.{name}"] + model.network.get_parameter(name)) / 2
    torch.testing.assert_close(model.alignment.momentum.get_parameter(name), middle)


def test_learns_to_match() -> None:
    base = pretrained(dropout=0.0, text_width=32, image_width=32, pooling="mean")
    with torch.no_grad():
        base.network.med.embeddings.encoder.word.weight.mul_(5)
    model, batch = tiny(base, momentum=0.9)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=4e-3)
    for step in range(60):
        optimizer.zero_grad()
        model.training_step(batch, generator(step))["main"].backward()
        optimizer.step()
        model.after_step()
    model.eval()
    assert (model.match(batch["image"], CAPTIONS) > 0.8).all()
    assert (model.match(batch["image"], CAPTIONS[::-1]) < 0.2).all()


def test_says_what_it_can_do_and_builds_on() -> None:
    model, _ = tiny()
    assert capabilities(model) == {"encode_image", "encode_text", "match"}
    assert isinstance(model, Stepping)
    assert model.batch_keys == ("image", "caption", "group")
    assert model.base_role == "blip"
    with pytest.raises(ValueError, match="bases must hold a pre-trained BLIP model under the name blip"):
        Model(Config(), {})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_px": -1}, "image_px must be at least 0, got -1"),
        ({"max_tokens": 600}, "max_tokens must be in 3..512, got 600"),
        ({"queue_size": 0}, "queue_size must be at least 1, got 0"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Config(**settings)
