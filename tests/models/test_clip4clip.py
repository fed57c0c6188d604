"""CLIP4Clip with mean pooling, over a CLIP of two transformers and over one with locked towers."""

from typing import Any

import pytest
import torch
from torch import Tensor

from models import Batch, clip, clip_locked
from models.clip4clip import Config, Model

CAPTIONS = ["a ball rolls left", "a red square turns", "two dogs run"]
SIZES = {
    **{"embed_dim": 16, "image_px": 32, "patch_px": 16, "vision_width": 64, "vision_layers": 1},
    **{"text_width": 32, "text_layers": 1, "text_heads": 2, "context_length": 16},
}


def base(name: str) -> Any:
    torch.manual_seed(0)
    if name == "clip":
        return clip.Model(clip.Config(**SIZES, temperature=0.05), {})
    return clip_locked.Model(clip_locked.Config(embed_dim=16, dropout=0.0, temperature=0.05), {})


def tiny(name: str = "clip") -> tuple[Model, Batch]:
    model = Model(Config(num_frames=4), {"clip": base(name)})
    px = model.image_px
    video = torch.rand(3, 4, 3, px, px, generator=torch.Generator().manual_seed(1)) * 2 - 1
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0], [1, 0, 0, 0]], dtype=torch.bool)
    return model, {"video": video, "frame_mask": mask, "caption": CAPTIONS}


def loss(model: Model, batch: Batch) -> Tensor:
    read = {name: batch[name] for name in model.batch_keys}
    return model.training_step(read, torch.Generator().manual_seed(0))["main"]


@torch.no_grad()
def test_clip_is_the_normalised_mean_of_normalised_frames() -> None:
    model, batch = tiny()
    embedded = model.encode_video(batch["video"], batch["frame_mask"])
    for video, mask, row in zip(batch["video"], batch["frame_mask"], embedded, strict=True):
        frames = torch.cat([model.clip.encode_image(frame[None]) for frame in video[mask]])
        mean = frames.mean(dim=0)
        torch.testing.assert_close(row, mean / mean.norm())


@torch.no_grad()
@pytest.mark.parametrize("name", ["clip", "clip_locked"])
def test_a_clip_of_one_frame_is_an_image_of_the_base(name: str) -> None:
    origin, (model, batch) = base(name).eval(), tiny(name)
    model.eval()
    video, mask = batch["video"][:, :1], torch.ones(3, 1, dtype=torch.bool)
    torch.testing.assert_close(model.encode_video(video, mask), origin.encode_image(video[:, 0]))
    torch.testing.assert_close(model.encode_text(CAPTIONS), origin.encode_text(CAPTIONS))
    torch.testing.assert_close(model.logit_scale, origin.logit_scale)


@torch.no_grad()
def test_neither_order_nor_content_of_missing_frames_matters() -> None:
    model, batch = tiny()
    embedded = model.encode_video(batch["video"], batch["frame_mask"])
    order = torch.tensor([2, 0, 3, 1])
    permuted = model.encode_video(batch["video"][:, order], batch["frame_mask"][:, order])
    torch.testing.assert_close(permuted, embedded)
    other = torch.where(batch["frame_mask"][..., None, None, None], batch["video"], -0.3)
    assert torch.equal(model.encode_video(other, batch["frame_mask"]), embedded)


@pytest.mark.parametrize(("name", "keys"), [("clip", set()), ("clip_locked", {"frame_feature", "text_feature"})])
def test_loss_from_cached_features_is_that_of_the_encoders(name: str, keys: set[str]) -> None:
    from open_clip import ClipLoss

    model, batch = tiny(name)
    model.eval()
    features = model.frozen_features(batch)
    assert set(features) == set(model.feature_sources) == keys
    with torch.no_grad():
        video, text = model.encode_video(batch["video"], batch["frame_mask"]), model.encode_text(CAPTIONS)
        expected = ClipLoss()(video, text, torch.tensor(1 / 0.05))
        torch.testing.assert_close(loss(model, {**batch, **features}), expected)


@pytest.mark.parametrize("name", ["clip", "clip_locked"])
def test_fine_tunes_a_copy(name: str) -> None:
    origin = base(name).requires_grad_(False)
    before = {key: value.clone() for key, value in origin.state_dict().items()}
    _, batch = tiny(name)
    model = Model(Config(num_frames=4), {"clip": origin})
    assert set(model.state_dict()) == {f"clip.{key}" for key in before}
    batch = {**batch, **model.frozen_features(batch)}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss(model, batch).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    optimizer.step()
    for key, value in origin.state_dict().items():
        torch.testing.assert_close(value, before[key], rtol=0, atol=0)
    assert any(not torch.equal(model.state_dict()[f"clip.{key}"], value) for key, value in before.items())


@pytest.mark.parametrize("bases", [{}, {"clip": torch.nn.Linear(1, 1)}])
def test_a_base_of_another_kind_is_refused(bases: dict[str, torch.nn.Module]) -> None:
    with pytest.raises(ValueError, match="base must be a model of two towers: clip, clip_locked, got"):
        Model(Config(), bases)


def test_config_is_checked() -> None:
    with pytest.raises(ValueError, match="num_frames must be at least 1, got 0"):
        Config(num_frames=0)
