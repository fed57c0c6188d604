import importlib

import pytest
import torch

from pipelines.shared.features import FeatureStore
from pipelines.shared.manifests import read_manifest
from pipelines.shared.pixels import to_float
from pipelines.shared.training.columns import DecodedImages, MediaShape
from pipelines.shared.training.data import ToModel, all_rows
from pipelines.shared.training.features import FrozenPart, all_modules, feature_sources, held_digest, untrained_digest
from pipelines.shared.training.order import Pick
from pipelines.shared.training.settings import read_plan
from pipelines.shared.training.split import read_split


@pytest.fixture
def frozen(project, params):
    """`frozen(width=6)`: the frozen part of a fake model, the split and its pixels."""

    def make(**config):
        plan = read_plan(params("fake_frozen", config=config), "tested")
        torch.manual_seed(0)
        model = plan.module.Model(plan.config, {})
        folder = project / "data/pack/small"
        split = read_split(folder, read_manifest(folder), "train")
        to_model = ToModel(MediaShape(media="image", side_px=8), torch.device("cpu"))
        part = FrozenPart(model=model, plan=plan, to_model=to_model, store=FeatureStore(), num_workers=0)
        plan.module.Model.calls.clear()
        return part, split, DecodedImages(split, 8)

    return make


def test_sources_are_those_that_the_model_reads(frozen):
    part, _, _ = frozen()
    assert feature_sources(part.model) == {"image_feature": "image", "text_feature": "caption"}
    assert feature_sources(torch.nn.Linear(1, 1)) == {}


def test_features_are_those_of_the_model(frozen):
    part, split, pixels = frozen()
    columns = part.columns(split, pixels)
    picks = all_rows(split)
    with torch.no_grad():
        wanted = part.model.image_part(to_float(pixels(picks)))
    torch.testing.assert_close(columns["image_feature"](picks), wanted, rtol=1e-5, atol=1e-6)
    texts = [Pick(0, row, False) for row in range(len(split.texts))]
    assert columns["text_feature"](texts)[:, 0].tolist() == [float(len(text)) for text in split.texts]
    assert part.model.training


def test_every_sample_and_every_text_is_computed_once(frozen):
    part, split, pixels = frozen()
    part.columns(split, pixels)
    calls = type(part.model).calls
    assert len(split.texts) > 32
    assert sorted(calls) == [["caption"], ["caption"], ["image"]]
    calls.clear()
    again, split, pixels = frozen()
    again.columns(split, pixels)
    assert calls == []


def test_other_settings_weights_or_pixels_are_computed_anew(frozen, project, write_pack):
    part, split, pixels = frozen()
    part.columns(split, pixels)
    calls = type(part.model).calls
    calls.clear()
    wider, _, _ = frozen(width=7)
    wider.columns(split, pixels)
    assert ["image"] in calls
    calls.clear()
    changed, _, _ = frozen()
    changed.model.below.module.bias.data.add_(1)
    changed.columns(split, pixels)
    assert ["image"] in calls
    calls.clear()
    folder = write_pack(project / "data/pack/other", {"train": 9}, first=100)
    other = read_split(folder, read_manifest(folder), "train")
    fresh, _, _ = frozen()
    fresh.columns(other, DecodedImages(other, 8))
    assert ["image"] in calls


def test_digest_sees_what_is_not_trained(fake_plugins):
    module = importlib.import_module("models.fake_frozen")
    model = module.Model(module.Config(), {})
    before, held = untrained_digest(model), held_digest(model)
    model.head.weight.data.add_(1)
    assert untrained_digest(model) == before
    model.head.weight.requires_grad_(False)
    assert untrained_digest(model) != before
    assert held_digest(model) == held
    model.below.module.bias.data.add_(1)
    assert held_digest(model) != held
    names = [name for name, _ in all_modules(model)]
    assert names == ["", "below", "below.module.", "head"]


def test_models_with_one_feature_key_share(frozen):
    first, split, pixels = frozen(width=6)
    first.model.feature_key = "mean brightness"
    first.columns(split, pixels)
    calls = type(first.model).calls
    calls.clear()
    other, _, _ = frozen(width=6)
    other.model.feature_key = "mean brightness"
    other.model.head.weight.requires_grad_(False)
    other.columns(split, pixels)
    assert calls == []
    other, _, _ = frozen(width=6)
    other.model.feature_key = "mean brightness"
    other.model.below.module.bias.data.add_(1)
    other.columns(split, pixels)
    assert ["image"] in calls


def test_a_pack_that_shares_pictures_has_the_others_computed(frozen, project, write_pack):
    first, split, pixels = frozen()
    first.model.feature_key = "mean brightness"
    columns = first.columns(split, pixels)
    folder = write_pack(project / "data/pack/more", {"train": len(split.keys) + 3})
    more = read_split(folder, read_manifest(folder), "train")
    seen = []
    again, _, _ = frozen()
    again.model.feature_key = "mean brightness"
    again.model.below.register_forward_hook(lambda module, args, output: seen.append(len(output)))
    pixels_of_more = DecodedImages(more, 8)
    shared = again.columns(more, pixels_of_more)["image_feature"]
    assert sum(seen) == len(set(more.media_digests) - set(split.media_digests)) > 0
    row = {key: place for place, key in enumerate(more.keys)}
    wanted = columns["image_feature"](all_rows(split))
    assert torch.equal(shared([Pick(row[key], -1, False) for key in split.keys]), wanted)
