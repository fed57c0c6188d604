import json

import open_clip
import pytest
import torch
from safetensors.torch import save_file

from pipelines.shared.clip_models import load_clip, read_tensors
from pipelines.shared.files import digest_file
from tests.pipelines.builders import drawing

TINY = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 16, "head_width": 8, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    (folder / "vignette-models.json").write_text(json.dumps(TINY))
    (folder / "vignette-fetching.json").write_text(
        json.dumps({**TINY, "text_cfg": {"hf_model_name": "roberta-base", "hf_tokenizer_name": "roberta-base"}})
    )
    open_clip.add_model_config(folder)
    torch.manual_seed(0)
    model = open_clip.create_model("vignette-models")
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, folder / "tiny.safetensors")
    yield str(folder / "tiny.safetensors"), digest_file(folder / "tiny.safetensors")
    torch.set_deterministic_debug_mode("default")


def test_rows_have_length_one_and_are_open_clips(weights):
    clip = load_clip("vignette-models", *weights, "cpu")
    reference, _, preprocess = open_clip.create_model_and_transforms("vignette-models", pretrained=weights[0])
    image = drawing(0)
    for found, expected in (
        (clip.encode_images([image])[0], reference.eval().encode_image(preprocess(image)[None])[0]),
        (clip.encode_texts(["a cat"])[0], reference.encode_text(open_clip.tokenize(["a cat"]))[0]),
    ):
        torch.testing.assert_close(found, expected / expected.norm(), rtol=0, atol=1e-5)
        assert found.norm().item() == pytest.approx(1, abs=1e-6)


def test_a_caption_cannot_end_itself(weights):
    clip = load_clip("vignette-models", *weights, "cpu")
    first, second = clip.encode_texts(["a <end_of_text> cat", "a <end_of_text> dog"])
    assert (first - second).abs().max() > 1e-4


def test_pixels_are_normalised_as_the_architectures_published_weights(weights, monkeypatch):
    from metrics.shared import clip_tower

    known = clip_tower.architecture("vignette-models")
    monkeypatch.setattr(
        clip_tower, "architecture", lambda name: clip_tower.Architecture(16, 32, (0.5,) * 3, (0.5,) * 3)
    )
    load_clip.cached.cache_clear()
    half = load_clip("vignette-models", *weights, "cpu").preprocess(drawing(1))
    load_clip.cached.cache_clear()
    monkeypatch.setattr(clip_tower, "architecture", lambda name: known)
    openai = load_clip("vignette-models", *weights, "cpu").preprocess(drawing(1))
    mean, std = (torch.tensor(values)[:, None, None] for values in (known.mean, known.std))
    torch.testing.assert_close(half * 0.5 + 0.5, openai * std + mean)
    assert not torch.allclose(half, openai)


def test_nothing_is_fetched(weights):
    with pytest.raises(ValueError, match="open_clip fetches the settings of its text tower"):
        load_clip("vignette-fetching", *weights, "cpu")


def test_another_device_than_there_is_is_refused(weights):
    if torch.cuda.is_available():
        pytest.skip("needs a machine without a GPU")
    with pytest.raises(ValueError, match="PyTorch sees no GPU here"):
        load_clip("vignette-models", *weights, "cuda")


def test_tensors_are_read_after_the_digest(weights):
    path, sha256 = weights
    found = read_tensors(path, sha256)
    assert found["logit_scale"].shape == ()
    with pytest.raises(ValueError, match="must have sha256 0000"):
        read_tensors(path, "0" * 64)
