import pytest
import torch
from safetensors.torch import save_file

import models
from models.blip import Config as BlipConfig
from models.blip import Model
from pipelines.annotators import AnnotatorInput
from pipelines.annotators.match_score import Annotator, Config, loaded
from pipelines.shared import runs
from pipelines.shared.files import digest_file, write_json
from pipelines.shared.pixels import square, to_float
from pipelines.shared.runs import own_weights
from tests.pipelines.builders import captions, drawing

SIZES = {
    **{"image_px": 16, "patch_px": 8, "image_width": 16, "num_image_layers": 1, "num_image_heads": 2},
    **{"text_width": 16, "num_layers": 1, "num_heads": 2, "embed_width": 8, "queue_size": 4},
}


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A BLIP with random weights as a run in the working directory, and its model."""
    monkeypatch.chdir(tmp_path)
    loaded.cached.cache_clear()
    torch.manual_seed(0)
    model = Model(BlipConfig(**SIZES), {}).eval()
    folder = tmp_path / "runs" / "tiny"
    folder.mkdir(parents=True)
    save_file(own_weights(model), folder / "model.safetensors")
    digest = digest_file(folder / "model.safetensors")
    document = {"format_version": runs.FORMAT_VERSION, "module": "blip", "config": SIZES, "base": {}}
    document |= {"capabilities": sorted(models.capabilities(model)), "pack": {"key": "web"}, "model_sha256": digest}
    write_json(folder / "config.json", document)
    yield {"run": "tiny", "sha256": digest}, model
    torch.set_deterministic_debug_mode("default")


def inputs(*texts: tuple[str, ...]):
    return [
        AnnotatorInput(
            key=f"{i:020x}", media="image", image=drawing(i), first_image=drawing(i), captions=captions(*each)
        )
        for i, each in enumerate(texts)
    ]


def test_scores_are_the_models(run):
    settings, model = run
    samples = inputs(("a cat", "two dogs"), (), ("a red house",))
    rows = Annotator(Config(**settings)).annotate(samples)
    assert [len(row["match_score"]) for row in rows] == [2, 0, 1]
    for sample, row in zip(samples, rows, strict=True):
        for caption, score in zip(sample.captions, row["match_score"], strict=True):
            image = to_float(torch.from_numpy(square(sample.image, 16)).permute(2, 0, 1))[None]
            assert score == pytest.approx(model.match(image, [caption.text]).item(), abs=1e-5)
    scores = [score for row in rows for score in row["match_score"]]
    assert len(set(scores)) == 3 and all(0 < score < 1 for score in scores)


def test_a_batch_changes_nothing(run):
    samples = inputs(("a cat",), ("a much longer caption of a dog",), ("a house",))
    annotator = Annotator(Config(**run[0]))
    apart = [annotator.annotate([sample])[0]["match_score"][0] for sample in samples]
    assert [row["match_score"][0] for row in annotator.annotate(samples)] == pytest.approx(apart, abs=2e-6)


def test_the_model_is_loaded_once_per_process(run):
    for _ in range(3):
        Annotator(Config(**run[0], column="again")).annotate(inputs(("a cat",)))
    assert loaded.cached.cache_info().currsize == 1


def test_no_captions_at_all_need_no_model(run):
    assert Annotator(Config(**run[0])).annotate(inputs((), ())) == [{"match_score": []}] * 2
    assert loaded.cached.cache_info().currsize == 0


def test_another_run_is_refused(run):
    with pytest.raises(ValueError, match=f"run: tiny has sha256 {run[0]['sha256']}, the settings say 0000"):
        Annotator(Config(run="tiny", sha256="0" * 64))
    with pytest.raises(ValueError, match="other was not trained to the end"):
        Annotator(Config(run="other", sha256="0" * 64))


def test_a_model_that_cannot_match_is_refused(run, tmp_path):
    document = runs.read_run("tiny") | {"capabilities": ["caption"]}
    write_json(tmp_path / "runs/tiny/config.json", document)
    with pytest.raises(ValueError, match=r"match_score needs a model with match; tiny \(blip\) has caption"):
        Annotator(Config(**run[0]))


@pytest.mark.parametrize(
    "change,message",
    [
        ({"sha256": "abc"}, "64 lower-case hex digits"),
        ({"column": "Bad-name"}, "column must match"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"device": "tpu"}, "device must be one of auto, cpu, cuda, got 'tpu'"),
    ],
)
def test_settings_are_checked(change, message):
    with pytest.raises(ValueError, match=message):
        Config(**{"run": "tiny", "sha256": "0" * 64, **change})
