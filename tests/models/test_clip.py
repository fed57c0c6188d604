"""CLIP against open_clip, and the splitting of its loss."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from models import Batch
from models.clip import Config, Model
from models.shared.contrastive import DualEncoder

SIZES = {
    **{"embed_dim": 16, "image_px": 32, "patch_px": 16, "vision_width": 64, "vision_layers": 2},
    **{"text_width": 32, "text_layers": 2, "text_heads": 2, "context_length": 16},
}
CAPTIONS = ["a red circle", "a small blue square on white", "two dogs", "a cat"]
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def tiny(**settings: Any) -> tuple[Model, Batch]:
    torch.manual_seed(0)
    model = Model(Config(**{**SIZES, **settings}), {})
    image = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    return model, {"image": image, "caption": CAPTIONS}


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@torch.no_grad()
def test_embeddings_and_loss_are_open_clips() -> None:
    from open_clip import ClipLoss, get_tokenizer
    from torchvision.transforms.functional import normalize

    model, batch = tiny()
    pixels = normalize((batch["image"] + 1) / 2, MEAN, STD)
    ids = get_tokenizer("ViT-B-32")(batch["caption"], context_length=16)
    image, text, scale = model.network(pixels, ids)
    torch.testing.assert_close(model.encode_image(batch["image"]), image)
    torch.testing.assert_close(model.encode_text(batch["caption"]), text)
    torch.testing.assert_close(model.training_step(batch, generator())["main"], ClipLoss()(image, text, scale))
    assert float(scale) == pytest.approx(1 / 0.07)


@torch.no_grad()
def test_a_caption_cannot_end_itself() -> None:
    """The towers read what stands behind the name of a control token."""
    model, _ = tiny()
    rows = model.text_input(["two <end_of_text> dogs", "two <end_of_text> cats"])
    last = model.tokenizer.eot_token_id
    assert [row.count(last) for row in rows.tolist()] == [1, 1] and rows[0].argmax() == rows[1].argmax() > 5
    first, second = model.encode_text(["two <end_of_text> dogs", "two <end_of_text> cats"])
    assert (first - second).abs().max() > 1e-4


def test_sizes_of_the_paper() -> None:
    with torch.device("meta"):
        model = Model(Config(), {})
    assert sum(parameter.numel() for parameter in model.parameters()) == 151_277_313
    assert model.image_px == 224


def test_sizes_that_are_set_replace_the_architectures() -> None:
    model, batch = tiny()
    assert model.image_px == 32
    assert model.network.visual.conv1.weight.shape == (64, 3, 16, 16)
    assert len(model.network.visual.transformer.resblocks) == len(model.network.transformer.resblocks) == 2
    assert model.text_input(batch["caption"]).shape == (4, 16)
    assert model.encode_text(batch["caption"]).shape == (4, 16)
    assert isinstance(model, DualEncoder)


def test_gradients_of_two_halves_are_those_of_the_whole_batch() -> None:
    model, batch = tiny()
    model.training_step(batch, generator())["main"].backward()
    expected = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    model.zero_grad()

    halves = [{name: value[part] for name, value in batch.items()} for part in (slice(0, 2), slice(2, 4))]
    with torch.no_grad():
        parts = [model.embed(half, generator()) for half in halves]
    whole = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    leaves = {name: value.requires_grad_() for name, value in whole.items() if value.is_floating_point()}
    model.contrastive_loss(whole)["main"].backward()
    for number, half in enumerate(halves):
        embeddings = model.embed(half, generator())
        gradients = {name: leaf.grad[2 * number : 2 * number + 2] for name, leaf in leaves.items()}
        torch.autograd.backward([embeddings[name] for name in leaves], [gradients[name] for name in leaves])
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-3, atol=1e-5)


def test_learns_to_tell_four_pairs_apart() -> None:
    model, batch = tiny()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(30):
        optimizer.zero_grad()
        model.training_step(batch, generator())["main"].backward()
        optimizer.step()
        model.after_step()
    with torch.no_grad():
        similarity = model.encode_image(batch["image"]) @ model.encode_text(batch["caption"]).T
    assert similarity.argmax(dim=1).tolist() == [0, 1, 2, 3]


def test_starts_from_weights_of_open_clip(tmp_path: Path) -> None:
    donor, batch = tiny()
    path = tmp_path / "weights.safetensors"
    save_file(donor.network.state_dict(), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    torch.manual_seed(1)
    model = Model(Config(**SIZES, weights=str(path), weights_sha256=digest), {})
    with torch.no_grad():
        torch.testing.assert_close(model.encode_image(batch["image"]), donor.encode_image(batch["image"]))
    with pytest.raises(ValueError, match="expected 0000"):
        Model(Config(**SIZES, weights=str(path), weights_sha256="0" * 64), {})
    with pytest.raises(ValueError, match="do not fit architecture ViT-B-32"):
        Model(Config(**{**SIZES, "text_layers": 1}, weights=str(path), weights_sha256=digest), {})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"patch_px": -1}, "patch_px must be at least 1, or 0"),
        ({"temperature": 0.0}, r"temperature must be in \[0.01, 1\]"),
        ({"weights": "a.safetensors"}, "weights_sha256 must be given"),
    ],
)
def test_config_is_checked(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Config(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"architecture": "ViT-B-23"}, "architecture must be one of .*ViT-B-32.*got 'ViT-B-23'"),
        ({"architecture": "ViT-B-16-SigLIP"}, "architecture must be one of"),
        ({"vision_width": 96}, "vision_width must be a multiple of 64"),
        ({"patch_px": 15}, "patch_px must be a divisor of image_px = 32"),
        ({"text_heads": 3}, "text_heads must be a divisor of text_width = 32"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tiny(**settings)
