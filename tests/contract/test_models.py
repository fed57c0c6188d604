"""What every model plug-in promises, tested for each module of `models/` without a list of them.

A plug-in is tried at the size that its mirrored test offers: `tests/models/test_<module>.py` defines

    def tiny() -> tuple[Model, Batch]

a small model, with bases of its own making if it needs some, and a batch for it: two samples or more, with the keys of
`batch_keys` (in place of those that are frozen features, what they are made of) and with what the model's methods read
(`image`, `caption`, `video`, `frame_mask`). Each call returns a new model with the same weights.
"""

import importlib
import importlib.util
import re
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import safetensors.torch
import torch

from models import Batch, Featurizing, Grouped, Stepping, Trainable

ROOT = Path(__file__).resolve().parents[2]
NAMES = sorted(path.stem for path in (ROOT / "models").glob("*.py") if path.stem != "__init__")
CAPTIONS = ["a red circle", "a small blue square on white", "two dogs", "a cat"]


@cache
def plugin(name: str) -> ModuleType:
    return importlib.import_module(f"models.{name}")


@cache
def mirrored_test(name: str) -> ModuleType:
    path = ROOT / "tests" / "models" / f"test_{name}.py"
    spec = importlib.util.spec_from_file_location(f"tests_of_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def build(name: str) -> tuple[Any, dict[str, Any]]:
    """A model and a batch with all that `training_step` and the capabilities read."""
    test = mirrored_test(name)
    assert hasattr(test, "tiny"), f"tests/models/test_{name}.py must define tiny(), see the docstring of this module"
    model, batch = test.tiny()
    features = model.frozen_features(batch) if isinstance(model, Featurizing) else {}
    return model, {**batch, **features}


def seeded(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def losses(model: Any, batch: Batch, seed: int = 0) -> dict[str, torch.Tensor]:
    """The training step as the loop runs it: only what `batch_keys` names is present."""
    return model.training_step({key: batch[key] for key in model.batch_keys}, *seeded(seed))


def values(result: dict[str, torch.Tensor]) -> dict[str, float]:
    return {key: value.item() for key, value in result.items()}


def groups(model: Any) -> dict[str, list[torch.nn.Parameter]]:
    if isinstance(model, Grouped):
        return {name: list(parameters) for name, parameters in model.parameter_groups().items()}
    return {"main": [parameter for parameter in model.parameters() if parameter.requires_grad]}


def build_for_use(name: str) -> tuple[Any, dict[str, Any]]:
    """A model in eval mode and its batch."""
    model, batch = build(name)
    return model.eval(), batch


def having(method: str) -> list[str]:
    """The models that have a method."""
    return [name for name in NAMES if callable(getattr(plugin(name).Model, method, None))]


def each_model_with(method: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("name", having(method))


each_model = pytest.mark.parametrize("name", NAMES)


@each_model
def test_config_is_a_frozen_keyword_only_dataclass_and_builds(name):
    config = plugin(name).Config
    assert is_dataclass(config)
    assert config.__dataclass_params__.frozen
    assert all(field.kw_only for field in fields(config))
    assert isinstance(build(name)[0].config, config)


@each_model
def test_docstring_cites_its_source(name):
    assert re.search(r"arXiv:\s?\d{4}\.\d{4,5}", plugin(name).__doc__ or "")


@each_model
def test_says_what_it_is_fed_with(name):
    model, batch = build(name)
    assert isinstance(model, Trainable)
    assert isinstance(model.image_px, int)
    assert model.image_px >= 0
    assert set(model.batch_keys) <= set(batch)
    sources = getattr(model, "feature_sources", {})
    known = {"image", "video", "frame_mask", "caption", "group"} | set(sources)
    assert set(model.batch_keys) <= known
    assert set(sources.values()) <= {"image", "video", "caption"}
    if "image" in model.batch_keys:
        assert batch["image"].shape[1:] == (3, model.image_px, model.image_px)


@each_model_with("frozen_features")
def test_frozen_features_do_not_depend_on_the_batch(name):
    model, batch = build_for_use(name)
    whole, part = model.frozen_features(batch), model.frozen_features({key: value[:1] for key, value in batch.items()})
    assert set(model.batch_keys) & set(model.feature_sources) <= set(whole)
    for key, value in whole.items():
        assert not value.requires_grad
        torch.testing.assert_close(part[key], value[:1], rtol=1e-4, atol=1e-5)


@each_model
def test_loss_is_a_function_of_the_batch_and_the_generator(name):
    model, batch = build(name)
    first = losses(model, batch)
    torch.manual_seed(12345)
    assert values(losses(model, batch)) == values(first)
    for key, value in first.items():
        assert value.ndim == 0
        assert torch.isfinite(value)
        assert value.requires_grad == ("/" not in key), f"{key}: losses have a gradient and terms to log have none"


@each_model
def test_every_loss_has_its_parameter_group(name):
    model, batch = build(name)
    trained = groups(model)
    assert {key for key in losses(model, batch) if "/" not in key} == set(trained)
    own = {id(parameter) for parameter in model.parameters()}
    listed = [id(parameter) for parameters in trained.values() for parameter in parameters]
    assert set(listed) <= own
    assert len(listed) == len(set(listed))
    assert all(parameter.requires_grad for parameters in trained.values() for parameter in parameters)


@each_model
def test_a_few_steps_lower_the_loss(name):
    model, batch = build(name)
    trained = groups(model)
    optimizers = [torch.optim.AdamW(parameters, lr=2e-3) for parameters in trained.values()]
    model.eval()  # no dropout, so the one batch and the one seed give a fixed function
    before = losses(model, batch)["main"].item()
    for _ in range(10):
        step = losses(model, batch)
        for group, parameters in trained.items():
            gradients = torch.autograd.grad(step[group], parameters, retain_graph=True, allow_unused=True)
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient
        for optimizer in optimizers:
            optimizer.step()
        if isinstance(model, Stepping):
            model.after_step()
    assert losses(model, batch)["main"].item() < before


@each_model
def test_state_makes_another_model_equal(name):
    model, batch = build(name)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.02 * torch.randn(parameter.shape, generator=generator)
    if isinstance(model, Stepping):
        model.after_step()
    saved = safetensors.torch.save(model.state_dict())
    other, _ = build(name)
    other.load_state_dict(safetensors.torch.load(saved))
    assert values(losses(other.eval(), batch)) == values(losses(model.eval(), batch))


@each_model_with("contrastive_loss")
def test_contrastive_loss_of_the_embeddings_is_the_loss_of_the_step(name):
    model, batch = build_for_use(name)
    embeddings = model.embed({key: batch[key] for key in model.batch_keys}, *seeded(0))
    count = len(next(iter(embeddings.values())))
    assert all(len(value) == count for value in embeddings.values())
    assert values(model.contrastive_loss(embeddings))["main"] == pytest.approx(values(losses(model, batch))["main"])


ENCODERS = {"encode_image": ("image",), "encode_text": ("caption",), "encode_video": ("video", "frame_mask")}


@pytest.mark.parametrize(("method", "name"), [(method, name) for method in ENCODERS for name in having(method)])
def test_embeddings_are_rows_of_length_one(name, method):
    model, batch = build_for_use(name)
    arguments = ENCODERS[method]
    with torch.no_grad():
        rows = getattr(model, method)(*(batch[key] for key in arguments))
        first = getattr(model, method)(*(batch[key][:1] for key in arguments))
    assert rows.shape == (len(batch[arguments[0]]), rows.shape[1])
    assert rows.dtype == torch.float32
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(len(rows)), rtol=0, atol=1e-5)
    torch.testing.assert_close(first, rows[:1], rtol=1e-4, atol=1e-5)


@each_model_with("match")
def test_match_is_a_probability(name):
    model, batch = build_for_use(name)
    with torch.no_grad():
        probability = model.match(batch["image"], batch["caption"])
        first = model.match(batch["image"][:1], batch["caption"][:1])
        owners = torch.zeros(len(batch["caption"]), dtype=torch.int64)
        repeated = model.match(batch["image"][:1].expand(len(owners), -1, -1, -1), batch["caption"])
        torch.testing.assert_close(model.match(batch["image"][:1], batch["caption"], owners), repeated)
    assert probability.shape == (len(batch["caption"]),)
    assert ((probability >= 0) & (probability <= 1)).all()
    torch.testing.assert_close(first, probability[:1], rtol=1e-4, atol=1e-5)


@each_model_with("caption")
def test_captions_come_from_their_own_generators(name):
    model, batch = build_for_use(name)
    count = len(batch["image"])
    captions = model.caption(batch["image"], seeded(*range(count)))
    assert len(captions) == count
    assert all(isinstance(caption, str) for caption in captions)
    assert model.caption(batch["image"][1:2], seeded(1)) == captions[1:2]


@each_model_with("reconstruct")
def test_reconstructions_are_images_without_chance(name):
    model, batch = build_for_use(name)
    image = batch["image"]
    reconstruction = model.reconstruct(image)
    assert reconstruction.shape == image.shape
    assert reconstruction.dtype == torch.float32
    assert reconstruction.abs().max() <= 1
    assert not reconstruction.requires_grad
    assert torch.equal(reconstruction, model.reconstruct(image))
    torch.testing.assert_close(model.reconstruct(image[:1]), reconstruction[:1], rtol=0, atol=1e-4)


@each_model_with("generate")
def test_generated_images_come_from_their_own_generators(name):
    model, _ = build_for_use(name)
    images = model.generate(CAPTIONS[:2], seeded(1, 2))
    assert images.shape == (2, 3, model.image_px, model.image_px)
    assert images.dtype == torch.float32
    assert images.abs().max() <= 1
    assert not images.requires_grad
    torch.testing.assert_close(model.generate(CAPTIONS[1:2], seeded(2)), images[1:2], rtol=0, atol=1e-3)
    assert isinstance(model.conditional, bool)
    if not model.conditional:
        assert torch.equal(model.generate(CAPTIONS[2:], seeded(1, 2)), images)
