import json

import open_clip
import pytest
import torch
from safetensors.torch import save_file

from pipelines.annotators import AnnotatorInput, clip_score
from pipelines.annotators.frame_text_score import Annotator, Config
from pipelines.shared.files import digest_file
from tests.pipelines.builders import captions, drawing

TINY = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 16, "head_width": 8, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    (folder / "vignette-frames.json").write_text(json.dumps(TINY))
    open_clip.add_model_config(folder)
    torch.manual_seed(0)
    model = open_clip.create_model("vignette-frames")
    weights = folder / "tiny.safetensors"
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, weights)
    yield {"model": "vignette-frames", "weights": str(weights), "sha256": digest_file(weights)}
    torch.set_deterministic_debug_mode("default")


def clip(*frames, texts=("a cat", "a dog")):
    return AnnotatorInput(
        key="0" * 20,
        media="video",
        image=frames[len(frames) // 2],
        first_image=frames[0],
        frames=frames,
        captions=captions(*texts),
    )


def frame_scores(tiny, *frames):
    """CLIP scores of each frame on its own: [frame][caption]."""
    annotator = clip_score.Annotator(clip_score.Config(**tiny))
    return [annotator.annotate([clip(frame)])[0]["clip_score"] for frame in frames]


@pytest.mark.parametrize("reduce,function", [("mean", lambda v: sum(v) / len(v)), ("min", min), ("max", max)])
def test_scores_of_frames_are_put_together(tiny, reduce, function):
    frames = [drawing(i) for i in range(3)]
    found = Annotator(Config(**tiny, reduce=reduce)).annotate([clip(*frames)])[0]["frame_text_score"]
    expected = [function(values) for values in zip(*frame_scores(tiny, *frames), strict=True)]
    assert found == pytest.approx(expected, abs=2e-3)
    assert len(set(found)) == 2


def test_a_picture_has_its_clip_score(tiny):
    picture = AnnotatorInput(
        key="0" * 20, media="image", image=drawing(4), first_image=drawing(4), captions=captions("a cat", "a dog")
    )
    found = Annotator(Config(**tiny, column="other")).annotate([picture])[0]["other"]
    assert found == pytest.approx(frame_scores(tiny, drawing(4))[0], abs=2e-3)


def test_no_captions(tiny):
    assert Annotator(Config(**tiny)).annotate([clip(drawing(0), texts=())]) == [{"frame_text_score": []}]


@pytest.mark.parametrize(
    "change,message",
    [
        ({"num_frames": 4}, "num_frames must be one of 3, 5, 9, 17, 33, 65, 129, 257, got 4"),
        ({"weights": "x.pt"}, "must be a .safetensors file"),
        ({"column": "A"}, "column must match"),
    ],
)
def test_settings_are_checked(tiny, change, message):
    with pytest.raises(ValueError, match=message):
        Config(**{**tiny, **change})
