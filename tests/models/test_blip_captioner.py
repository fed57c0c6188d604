from typing import Any

import pytest
import torch

from models import Batch, capabilities
from models.blip import Config as BlipConfig
from models.blip import Model as Blip
from models.blip_captioner import Config, Model

SIZES = {
    **{"image_px": 16, "patch_px": 8, "image_width": 16, "num_image_layers": 1, "num_image_heads": 2},
    **{"text_width": 16, "num_layers": 1, "num_heads": 2, "embed_width": 8, "queue_size": 4},
}
CAPTIONS = ["a red circle", "a small blue square on white", "two dogs", "a cat"]


def pretrained(**settings: Any) -> Blip:
    torch.manual_seed(0)
    return Blip(BlipConfig(**{**SIZES, **settings}), {})


def tiny(base: Blip | None = None, **settings: Any) -> tuple[Model, Batch]:
    model = Model(Config(**settings), {"blip": base or pretrained()})
    image = torch.rand(4, 3, model.image_px, model.image_px, generator=torch.Generator().manual_seed(1)) * 2 - 1
    return model, {"image": image, "caption": CAPTIONS}


def seeded(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def test_trains_what_the_decoder_uses() -> None:
    model, batch = tiny()
    model.training_step(batch, *seeded(0))["main"].backward()
    assert [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None] == []
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    parts = ("match_head", "image_projection", "text_projection", "self_attention.encoder")
    assert frozen
    assert all(any(part in name for part in parts) for name in frozen)


def test_base_stays_as_it_was() -> None:
    base = pretrained()
    before = {name: value.clone() for name, value in base.state_dict().items()}
    model, batch = tiny(base)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model.training_step(batch, *seeded(0))["main"].backward()
    optimizer.step()
    assert all(torch.equal(value, before[name]) for name, value in base.state_dict().items())
    assert all(p.requires_grad for p in base.network.parameters())


def test_loss_is_that_of_the_words_after_the_prompt() -> None:
    model, batch = tiny(pretrained(dropout=0.0), prompt="a picture of ", label_smoothing=0.0)
    network = model.network
    with torch.no_grad():
        _, memory = network.med.memories(network.image_states(batch))
        total, count = 0.0, 0
        for row, caption in enumerate(CAPTIONS):
            words = network.tokenizer.encode(caption, add_special_tokens=False).ids
            text = torch.tensor([[*network.prompt_tokens("a picture of "), *words, 102]])
            own = [(keys[row : row + 1], values[row : row + 1]) for keys, values in memory]
            log_probability = network.med.logits(network.med.decode(text[:, :-1], own))[0].log_softmax(dim=1)
            for position in range(3, text.shape[1] - 1):
                total, count = total - float(log_probability[position, text[0, position + 1]]), count + 1
        assert count == sum(len(network.tokenizer.encode(c).ids) - 1 for c in CAPTIONS)
        loss = model.training_step(batch, *seeded(0))["main"].item()
    assert loss == pytest.approx(total / count, abs=1e-4)


def test_learns_to_caption() -> None:
    base = pretrained(dropout=0.0, text_width=32, image_width=32)
    with torch.no_grad():
        base.network.med.embeddings.encoder.word.weight.mul_(5)
    model, batch = tiny(base, prompt="a picture of ", label_smoothing=0.0)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=6e-3)
    for step in range(60):
        optimizer.zero_grad()
        model.training_step(batch, *seeded(step))["main"].backward()
        optimizer.step()
    model.eval()
    assert model.caption(batch["image"], seeded(0, 1, 2, 3), min_tokens=1, top_p=0.5) == CAPTIONS
    assert model.caption(batch["image"], seeded(0, 1, 2, 3), decoding="beam", min_tokens=1) == CAPTIONS


def test_says_what_it_can_do_and_builds_on() -> None:
    model, _ = tiny()
    assert capabilities(model) == {"caption"}
    assert model.batch_keys == ("image", "caption")
    assert model.base_role == "blip"
    with pytest.raises(ValueError, match="bases must hold a pre-trained BLIP model under the name blip"):
        Model(Config(), {})


def test_takes_larger_images() -> None:
    model, batch = tiny(image_px=32)
    assert batch["image"].shape[-1] == model.image_px == 32
    assert torch.isfinite(model.training_step(batch, *seeded(0))["main"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"label_smoothing": -0.1}, "label_smoothing must be in"),
        ({"image_px": -1}, "image_px must be at least 0, got -1"),
        ({"max_tokens": 2}, "max_tokens must be in 3..512, got 2"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Config(**settings)


def test_unknown_decoding_settings_are_refused() -> None:
    model, batch = tiny()
    with pytest.raises(ValueError, match="decoding has no setting 'top_k', nearest: top_p"):
        model.caption(batch["image"], seeded(0, 1, 2, 3), top_k=5)
