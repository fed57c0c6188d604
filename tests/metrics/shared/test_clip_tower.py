"""Towers of open_clip with weights that the test writes, against open_clip itself."""

import hashlib
import json

import open_clip
import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from safetensors.torch import save_file

from metrics.shared.clip_tower import architecture
from metrics.shared.detectors import DetectorSpec

TEXT = {"context_length": 8, "vocab_size": 64, "width": 16, "heads": 2, "layers": 1}
VISION = {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8}
CONFIGS = {
    "tiny-clip": {"embed_dim": 24, "vision_cfg": VISION, "text_cfg": TEXT},
    "tiny-clip-quickgelu": {"embed_dim": 24, "vision_cfg": VISION, "text_cfg": TEXT, "quick_gelu": True},
    "tiny-coca": {
        "embed_dim": 24,
        "vision_cfg": VISION | {"attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True},
        "text_cfg": TEXT | {"embed_cls": True, "output_tokens": True},
        "multimodal_cfg": {"context_length": 8, "vocab_size": 64, "width": 24, "heads": 2, "layers": 1},
        "custom_text": True,
    },
    "tiny-wide": {"embed_dim": 24, "vision_cfg": VISION | {"image_size": [32, 64]}, "text_cfg": TEXT},
}


@pytest.fixture(autouse=True, scope="module")
def _tiny_architectures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("configs")
    for name, config in CONFIGS.items():
        (folder / f"{name}.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder)


def saved(name: str, path) -> tuple[torch.nn.Module, DetectorSpec]:
    """A model with random weights in a file, and the detector of that file."""
    torch.manual_seed(0)
    model = open_clip.create_model(name).eval()
    weights = {key: value.contiguous() for key, value in model.state_dict().items()}
    save_file(weights, path) if path.suffix == ".safetensors" else torch.save(weights, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return model, DetectorSpec(name="open-clip", architecture=name, weights_file=str(path), weights_sha256=digest)


def pictures(side_px: int) -> torch.Tensor:
    return torch.randint(
        0, 256, (3, 3, side_px, side_px), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )


@pytest.mark.parametrize(
    ("name", "file"),
    [("tiny-clip", "w.safetensors"), ("tiny-clip", "w.pt"), ("tiny-clip-quickgelu", "w.pt"), ("tiny-coca", "w.pt")],
)
def test_features_are_open_clips_embeddings_without_length_1(name, file, tmp_path):
    model, spec = saved(name, tmp_path / file)
    images = pictures(32)  # the tower's size, so that no resize has a part in it
    preprocess = image_transform_v2(PreprocessCfg(**model.visual.preprocess_cfg), is_train=False)
    inputs = torch.stack([preprocess(Image.fromarray(image.permute(1, 2, 0).numpy())) for image in images])
    with torch.no_grad():
        theirs = model.encode_image(inputs, normalize=name == "tiny-coca")
    ours = spec.load()(images)
    if name == "tiny-coca":  # has no other way to ask for it
        theirs = theirs * ours.norm(dim=1, keepdim=True)
    assert ours.shape == (3, spec.num_features) == (3, 24)
    assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    assert (ours.norm(dim=1) - 1).abs().max() > 0.01


def test_features_do_not_depend_on_the_batch_by_a_bit(tmp_path):
    detector = saved("tiny-clip", tmp_path / "w.pt")[1].load()
    images = pictures(50)
    alone = torch.cat([detector(image[None]) for image in images])
    assert torch.equal(detector(images), alone)
    assert torch.equal(detector(images.flip(0)), alone.flip(0))


def test_identity_has_all_that_decides_the_features(tmp_path):
    """Weights of one shape fit architectures with other activations."""
    _, spec = saved("tiny-clip", tmp_path / "w.pt")
    file = {"weights_file": spec.weights_file, "weights_sha256": spec.weights_sha256}
    other = DetectorSpec(name="open-clip", architecture="tiny-clip-quickgelu", **file)
    assert spec.identity != other.identity
    assert not torch.allclose(spec.load()(pictures(32)), other.load()(pictures(32)), rtol=1e-3)
    assert f"{spec.digest} clean 32px tiny-clip (0.48145466, " in spec.identity
    assert (spec.label, other.label) == ("open-clip-tiny-clip", "open-clip-tiny-clip-quickgelu")


@pytest.mark.parametrize(
    ("name", "num_features", "input_px", "mean"),
    [
        ("ViT-B-32", 512, 224, open_clip.OPENAI_DATASET_MEAN),
        ("ViT-L-14-336", 768, 336, open_clip.OPENAI_DATASET_MEAN),
        ("ViT-L-14", 768, 224, open_clip.OPENAI_DATASET_MEAN),
        ("ViT-B-16-SigLIP", 768, 224, (0.5, 0.5, 0.5)),
        ("MobileCLIP-S1", 512, 256, (0.0, 0.0, 0.0)),
        ("tiny-clip", 24, 32, open_clip.OPENAI_DATASET_MEAN),
    ],
)
def test_architectures_have_the_normalisation_of_their_published_weights(name, num_features, input_px, mean):
    known = architecture(name)
    assert (known.num_features, known.input_px, known.mean) == (num_features, input_px, mean)


def test_most_published_weights_of_an_architecture_agree_on_the_normalisation():
    """What the module says of ViT-L-14, and that it is the only one."""
    torn = set()
    for name in open_clip.list_models():
        configs = [open_clip.get_pretrained_cfg(name, tag) for tag in open_clip.list_pretrained_tags_by_model(name)]
        if len({(tuple(config["mean"]), tuple(config["std"])) for config in configs}) > 1:
            torn.add(name)
    assert torn == {"ViT-L-14"}
    odd = open_clip.get_pretrained_cfg("ViT-L-14", "laion2b_s32b_b82k")
    assert tuple(odd["mean"]) != architecture("ViT-L-14").mean


def test_a_tag_is_no_file(tmp_path, monkeypatch):
    """open_clip would download for a name that it knows; a file of that name is read instead."""
    _, spec = saved("tiny-clip", tmp_path / "openai.pt")
    (tmp_path / "openai").write_bytes((tmp_path / "openai.pt").read_bytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(open_clip.factory, "download_pretrained", None)
    named = DetectorSpec(
        name="open-clip", architecture="tiny-clip", weights_file="openai", weights_sha256=spec.weights_sha256
    )
    assert torch.equal(named.load()(pictures(32)), spec.load()(pictures(32)))
    (tmp_path / "openai").unlink()
    with pytest.raises(ValueError, match="weights_file openai does not exist"):
        named.load()


def test_wrong_files_are_refused(tmp_path):
    _, spec = saved("tiny-clip", tmp_path / "w.pt")
    wrong = {"name": "open-clip", "weights_file": spec.weights_file}
    with pytest.raises(ValueError, match=f"must have sha256 {'0' * 64}, got"):
        DetectorSpec(**wrong, architecture="tiny-clip", weights_sha256="0" * 64).load()
    with pytest.raises(ValueError, match="does not hold tiny-coca"):
        DetectorSpec(**wrong, architecture="tiny-coca", weights_sha256=spec.digest).load()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "architecture: open_clip has no ''"),
        ("hf-hub:some/model", "open_clip has no 'hf-hub:some/model'"),
        ("xlm-roberta-base-ViT-B-32", "open_clip fetches the settings of its text tower"),
        ("tiny-wide", r"reads images of \[32, 64\], only squares can be used"),
    ],
)
def test_architectures_that_cannot_be_used(name, message):
    with pytest.raises(ValueError, match=message):
        architecture(name)
