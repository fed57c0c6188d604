"""BLIP pre-training; the parts are tested in `shared/`."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from models import Batch, Stepping, Trainable, capabilities
from models.blip import Config, Model

SIZES = {
    **{"image_px": 16, "patch_px": 8, "image_width": 16, "num_image_layers": 1, "num_image_heads": 2},
    **{"text_width": 16, "num_layers": 1, "num_heads": 2, "embed_width": 8, "queue_size": 4, "alpha_warmup_steps": 5},
}
CAPTIONS = ["a red circle", "a small blue square on white", "two dogs", "a cat"]


def tiny(**settings: Any) -> tuple[Model, Batch]:
    torch.manual_seed(0)
    model = Model(Config(**{**SIZES, **settings}), {})
    image = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1
    return model, {"image": image, "caption": CAPTIONS, "group": torch.arange(4)}


def seeded(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def train(model: Model, batch: Batch, steps: int, rate: float) -> list[dict[str, float]]:
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=rate)
    seen = []
    for step in range(steps):
        losses = model.training_step(batch, *seeded(step))
        optimizer.zero_grad()
        losses["main"].backward()
        optimizer.step()
        model.after_step()
        seen.append({name: value.item() for name, value in losses.items()})
    return seen


def test_loss_is_the_sum_of_its_terms() -> None:
    model, batch = tiny()
    losses = model.training_step(batch, *seeded(0))
    assert set(losses) == {"main", "main/itc", "main/itm", "main/lm"}
    terms = [value for name, value in losses.items() if name != "main"]
    torch.testing.assert_close(losses["main"].detach(), sum(terms))
    assert not any(term.requires_grad for term in terms)


def test_every_trained_parameter_gets_a_gradient() -> None:
    model, batch = tiny()
    model.training_step(batch, *seeded(0))["main"].backward()
    assert [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None] == []


def test_can_do_what_blip_can() -> None:
    model, _ = tiny()
    assert capabilities(model) == {"encode_image", "encode_text", "match", "caption"}
    assert isinstance(model, Trainable)
    assert isinstance(model, Stepping)
    assert model.batch_keys == ("image", "caption", "group")


def test_overfits_a_batch() -> None:
    model, batch = tiny(dropout=0.0, momentum=0.9, text_width=32, image_width=32, pooling="mean")
    with torch.no_grad():
        model.network.med.embeddings.encoder.word.weight.mul_(5)
    losses = train(model, batch, 60, 6e-3)
    assert losses[-1]["main/itm"] < 0.1
    model.eval()
    other = [3, 2, 1, 0]
    assert (model.match(batch["image"], CAPTIONS) > 0.8).all()
    assert (model.match(batch["image"], [CAPTIONS[i] for i in other]) < 0.2).all()
    assert model.caption(batch["image"], seeded(0, 1, 2, 3), decoding="greedy", min_tokens=1) == CAPTIONS
    similarity = model.encode_image(batch["image"]) @ model.encode_text(CAPTIONS).T
    assert similarity.argmax(dim=1).tolist() == [0, 1, 2, 3]


def test_dropout_comes_from_the_generator() -> None:
    model, batch = tiny(dropout=0.5)
    first = model.training_step(batch, *seeded(0))["main"]
    torch.manual_seed(99)
    assert torch.equal(model.training_step(batch, *seeded(0))["main"], first)
    assert not torch.equal(model.training_step(batch, *seeded(1))["main"], first)


def test_state_holds_what_a_resumed_run_needs() -> None:
    model, batch = tiny(alpha=0.4)
    train(model, batch, 3, 1e-3)
    other, _ = tiny(alpha=0.4)
    other.load_state_dict(model.state_dict())
    losses = [m.training_step(batch, *seeded(7))["main"] for m in (model, other)]
    assert torch.equal(losses[0], losses[1])
    assert int(other.alignment.num_steps) == 3


def test_frozen_features_replace_the_pixels() -> None:
    model, batch = tiny(image_encoder="efficientnet-lite0", image_px=64, patch_px=16, feature_grid=2)
    assert model.batch_keys == ("image_feature", "caption", "group")
    image = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1
    features = model.frozen_features({"image": image})
    assert features["image_feature"].shape == (4, 4, 1280)
    model.eval()
    from_features = model.training_step({**features, **{k: batch[k] for k in ("caption", "group")}}, *seeded(0))
    from_pixels = model.training_step({**batch, "image": image}, *seeded(0))
    torch.testing.assert_close(from_features["main"], from_pixels["main"])


def test_starts_from_published_weights(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file({"itm_head.bias": torch.ones(2)}, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(ValueError, match="weights do not fit the settings: missing"):
        tiny(weights=str(path), weights_sha256=digest)
    with pytest.raises(ValueError, match="weights_sha256 must be given if and only if weights is"):
        tiny(weights=str(path))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"label_smoothing": 1.0}, r"label_smoothing must be in \[0, 1\), got 1.0"),
        ({"momentum": 2.0}, r"momentum must be in \[0, 1\], got 2.0"),
        ({"text_init": "word2vec"}, "text_init must be one of minilm, none, got 'word2vec'"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Config(**settings)
