import json
import re

import open_clip
import pytest
import torch
from safetensors.torch import save_file

from pipelines.annotators import AnnotatorInput
from pipelines.annotators.clip_score import Annotator, Config
from pipelines.shared.clip_models import load_clip
from pipelines.shared.files import digest_file
from tests.pipelines.builders import captions, drawing

TINY = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 16, "head_width": 8, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Settings of a tiny CLIP with random weights."""
    folder = tmp_path_factory.mktemp("clip")
    (folder / "vignette-tiny.json").write_text(json.dumps(TINY))
    other = {**TINY, "text_cfg": {**TINY["text_cfg"], "width": 24, "heads": 3}}
    (folder / "vignette-other.json").write_text(json.dumps(other))
    open_clip.add_model_config(folder)
    torch.manual_seed(0)
    model = open_clip.create_model("vignette-tiny")
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, folder / "tiny.safetensors")
    weights = folder / "tiny.safetensors"
    yield {"model": "vignette-tiny", "weights": str(weights), "sha256": digest_file(weights)}
    torch.set_deterministic_debug_mode("default")


def inputs(*texts: tuple[str, ...]):
    return [
        AnnotatorInput(
            key=f"{i:020x}", media="image", image=drawing(i), first_image=drawing(i), captions=captions(*each)
        )
        for i, each in enumerate(texts)
    ]


def test_scores_are_cosines_of_the_loaded_weights(tiny):
    samples = inputs(("a cat", "two dogs"), (), ("a house",))
    rows = Annotator(Config(**tiny)).annotate(samples)
    model, _, preprocess = open_clip.create_model_and_transforms(tiny["model"], pretrained=tiny["weights"])
    model.eval()
    with torch.no_grad():
        for sample, row in zip(samples, rows, strict=True):
            for caption, score in zip(sample.captions, row["clip_score"], strict=True):
                image = model.encode_image(preprocess(sample.image)[None])
                text = model.encode_text(open_clip.get_tokenizer(tiny["model"])([caption.text]))
                assert score == pytest.approx(100 * torch.cosine_similarity(image, text).item(), abs=2e-3)
    assert [len(row["clip_score"]) for row in rows] == [2, 0, 1]
    assert len({score for row in rows for score in row["clip_score"]}) == 3


def test_a_batch_changes_nothing(tiny):
    samples = inputs(("a cat",), ("a dog",), ("a house",))
    annotator = Annotator(Config(**tiny))
    together = annotator.annotate(samples)
    apart = [annotator.annotate([sample])[0] for sample in samples]
    for first, second in zip(together, apart, strict=True):
        assert first["clip_score"] == pytest.approx(second["clip_score"], abs=2e-4)


def test_the_model_is_loaded_once_per_process(tiny):
    load_clip.cached.cache_clear()
    for _ in range(2):
        Annotator(Config(**tiny, column="again")).annotate(inputs(("a cat",)))
    assert load_clip.cached.cache_info().currsize == 1


def test_no_captions_at_all_needs_no_model(tiny):
    assert Annotator(Config(**tiny, column="c")).annotate(inputs((), ())) == [{"c": []}, {"c": []}]


def test_missing_weights_are_named(tiny):
    with pytest.raises(ValueError, match=re.escape("weights: /nowhere/x.safetensors does not exist")):
        Annotator(Config(model="ViT-B-32", weights="/nowhere/x.safetensors", sha256="0" * 64))


def test_another_file_is_refused(tiny):
    config = Config(**{**tiny, "sha256": "0" * 64})
    with pytest.raises(ValueError, match="the settings say 0000"):
        Annotator(config).annotate(inputs(("a",)))


def test_weights_of_another_architecture_are_refused(tiny):
    with pytest.raises(ValueError, match="does not fit vignette-other"):
        Annotator(Config(**{**tiny, "model": "vignette-other"})).annotate(inputs(("a",)))


def test_nothing_is_fetched_by_name(tiny):
    with pytest.raises(ValueError, match="open_clip has no 'hf-hub:a/b'"):
        Annotator(Config(**{**tiny, "model": "hf-hub:a/b"})).annotate(inputs(("a",)))


@pytest.mark.parametrize(
    "change,message",
    [
        ({"weights": "x.pt"}, "must be a .safetensors file"),
        ({"sha256": "abc"}, "64 lower-case hex digits"),
        ({"column": "Bad-name"}, "column must match"),
        ({"device": "cuda:9"}, "device must be one of auto, cpu, cuda, got 'cuda:9'"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
    ],
)
def test_settings_are_checked(tiny, change, message):
    with pytest.raises(ValueError, match=message):
        Config(**{**tiny, **change})
