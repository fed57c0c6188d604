import json

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from pipelines.annotators import AnnotatorInput
from pipelines.annotators.aesthetic import Annotator, Config
from pipelines.shared.clip_models import load_clip
from pipelines.shared.files import digest_file
from tests.pipelines.builders import drawing

TINY = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 16, "head_width": 8, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


class Published(nn.Module):
    """The shape of LAION's second predictor, smaller."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Linear(16, 12), nn.Dropout(0.2), nn.Linear(12, 8), nn.Dropout(0.2), nn.Linear(8, 6)),
            *(nn.Dropout(0.1), nn.Linear(6, 4), nn.Linear(4, 1)),
        )

    def forward(self, x):
        return self.layers(x)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("aesthetic")


@pytest.fixture(scope="module")
def clip(folder):
    (folder / "vignette-aesthetic.json").write_text(json.dumps(TINY))
    open_clip.add_model_config(folder)
    torch.manual_seed(0)
    model = open_clip.create_model("vignette-aesthetic")
    path = folder / "tiny.safetensors"
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, path)
    yield {"model": "vignette-aesthetic", "weights": str(path), "sha256": digest_file(path)}
    torch.set_deterministic_debug_mode("default")


def head(folder, name, state):
    path = folder / name
    if name.endswith(".safetensors"):
        save_file(state, path)
    else:
        torch.save(state, path)
    return {"head": str(path), "head_sha256": digest_file(path)}


def inputs(count: int):
    return [
        AnnotatorInput(key=f"{i:020x}", media="image", image=drawing(i), first_image=drawing(i)) for i in range(count)
    ]


def embeddings(clip, samples):
    return load_clip(clip["model"], clip["weights"], clip["sha256"], "cpu").encode_images([s.image for s in samples])


def test_the_published_chain_of_layers(clip, folder):
    torch.manual_seed(1)
    predictor = Published().eval()
    rows = Annotator(Config(**clip, **head(folder, "chain.pth", predictor.state_dict()))).annotate(inputs(3))
    with torch.no_grad():
        expected = predictor(embeddings(clip, inputs(3)).clone())[:, 0].tolist()
    assert [row["aesthetic_score"] for row in rows] == pytest.approx(expected, abs=1e-4)
    assert len(set(expected)) == 3


def test_a_linear_head(clip, folder):
    torch.manual_seed(2)
    linear = nn.Linear(16, 1)
    settings = head(folder, "linear.safetensors", linear.state_dict())
    rows = Annotator(Config(**clip, **settings, column="taste")).annotate(inputs(2))
    with torch.no_grad():
        expected = linear(embeddings(clip, inputs(2)).clone())[:, 0].tolist()
    assert [row["taste"] for row in rows] == pytest.approx(expected, abs=1e-4)


def test_a_clip_has_the_mean_of_its_frames(clip, folder):
    torch.manual_seed(3)
    annotator = Annotator(Config(**clip, **head(folder, "clip.safetensors", nn.Linear(16, 1).state_dict())))
    pictures = inputs(4)
    frames = tuple(sample.image for sample in pictures[:3])
    moving = AnnotatorInput(key="f" * 20, media="video", image=frames[1], first_image=frames[0], frames=frames)
    first, second, third, fourth = (row["aesthetic_score"] for row in annotator.annotate(pictures))
    found = [row["aesthetic_score"] for row in annotator.annotate([moving, pictures[3]])]
    assert found == pytest.approx([(first + second + third) / 3, fourth], abs=2e-4)


@pytest.mark.parametrize(
    "state,message",
    [
        ({"weight": torch.zeros(1, 16)}, "must have a weight and a bias for each layer, got weight"),
        ({"weight": torch.zeros(2, 16), "bias": torch.zeros(2)}, r"end in one number, got weights of \[\(2, 16\)\]"),
        ({"weight": torch.zeros(1, 24), "bias": torch.zeros(1)}, "reads 24 numbers, vignette-aesthetic has others"),
    ],
)
def test_other_files_are_refused(clip, folder, state, message):
    with pytest.raises(ValueError, match=message):
        Annotator(Config(**clip, **head(folder, "other.safetensors", state))).annotate(inputs(1))


def test_another_digest_is_refused(clip, folder):
    settings = head(folder, "again.safetensors", nn.Linear(16, 1).state_dict()) | {"head_sha256": "0" * 64}
    with pytest.raises(ValueError, match="must have sha256 0000"):
        Annotator(Config(**clip, **settings)).annotate(inputs(1))


@pytest.mark.parametrize(
    "change,message",
    [
        ({"head": "x.bin"}, "head must be a file of .safetensors, .pth, .pt, got x.bin"),
        ({"head_sha256": "1"}, "head_sha256 must be 64 lower-case hex digits, got '1'"),
        ({"column": "A b"}, "column must match"),
    ],
)
def test_settings_are_checked(change, message):
    given = {"model": "ViT-B-32", "weights": "x.safetensors", "sha256": "0" * 64}
    with pytest.raises(ValueError, match=message):
        Config(**{**given, "head": "h.pth", "head_sha256": "0" * 64, **change})


def test_missing_files_are_named(clip):
    with pytest.raises(ValueError, match=r"head: nowhere\.pth does not exist"):
        Annotator(Config(**clip, head="nowhere.pth", head_sha256="0" * 64))
