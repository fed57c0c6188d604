import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import save_file

from pipelines.captioners import CaptionerInput
from pipelines.captioners.coca import SPECIAL, Captioner, Config, load_model
from pipelines.shared.files import digest_file
from tests.pipelines.builders import drawing

TEXT = {"vocab_size": 49408, "width": 16, "heads": 2, "layers": 1, "context_length": 20}
TINY = {
    "embed_dim": 16,
    "vision_cfg": {
        **{"image_size": 32, "layers": 1, "width": 16, "head_width": 8, "patch_size": 16},
        **{"attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True},
    },
    "text_cfg": {**TEXT, "embed_cls": True, "output_tokens": True},
    "multimodal_cfg": {**TEXT, "attn_pooler_heads": 2, "n_queries": 8},
    "custom_text": True,
}
PLAIN = {"embed_dim": 16, "vision_cfg": {**TINY["vision_cfg"], "output_tokens": False}, "text_cfg": TEXT}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Settings of a tiny CoCa with random weights."""
    folder = tmp_path_factory.mktemp("coca")
    (folder / "vignette-coca.json").write_text(json.dumps(TINY))
    (folder / "vignette-plain.json").write_text(json.dumps(PLAIN))
    open_clip.add_model_config(folder)
    torch.manual_seed(0)
    for name in ("coca", "plain"):
        model = open_clip.create_model(f"vignette-{name}")
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(0.5 * torch.randn(parameter.shape))  # open_clip leaves some of them unset
        state = {key: value.contiguous() for key, value in model.state_dict().items()}
        save_file(state, folder / f"{name}.safetensors")
    weights = folder / "coca.safetensors"
    return {
        **{"model": "vignette-coca", "weights": str(weights), "sha256": digest_file(weights)},
        **{"min_tokens": 2, "max_tokens": 8},
    }


@pytest.fixture(autouse=True)
def _as_in_a_worker() -> Iterator[None]:
    """Operations that differ from run to run are refused."""
    torch.set_deterministic_debug_mode("error")
    yield
    torch.set_deterministic_debug_mode("default")


def inputs(*num_seeds: int, num_frames: int = 1) -> list[CaptionerInput]:
    return [
        CaptionerInput(
            key=f"{row:020x}",
            frames=tuple(drawing(10 * row + frame) for frame in range(num_frames)),
            seeds=tuple(100 * row + number for number in range(count)),
        )
        for row, count in enumerate(num_seeds)
    ]


def texts(config: Config, samples: list[CaptionerInput]) -> list[tuple[str, ...]]:
    return [written.texts for written in Captioner(config).caption(samples)]


@pytest.mark.parametrize("decoding", ["greedy", "beam", "nucleus"])
def test_a_text_depends_on_its_sample_and_seed_alone(tiny: dict[str, Any], decoding: str) -> None:
    config = Config(**tiny, decoding=decoding, top_p=0.99)
    samples = inputs(2, 1, 3)
    together = texts(config, samples)
    assert together == [texts(config, [sample])[0] for sample in samples]
    assert [len(own) for own in together] == [2, 1, 3] and all(text for own in together for text in own)
    assert (len(set(together[2])) == 3) == (decoding == "nucleus")


@torch.no_grad()
def test_greedy_takes_the_likeliest_token_of_whole_passes(tiny: dict[str, Any]) -> None:
    """open_clip's own `generate` needs an older transformers; its forward pass is the reference."""
    coca = load_model(Config(**tiny))
    network, preprocess, tokenizer = coca.model, coca.preprocess, coca.tokenizer
    first, last = (tokenizer.encoder[name] for name in SPECIAL)
    expected = []
    for sample in inputs(1, 1, 1):
        picture = preprocess(sample.frames[0])[None]
        tokens = [first]
        while tokens[-1] != last and len(tokens) <= tiny["max_tokens"]:
            logits = network(picture, torch.tensor([tokens]), output_labels=False)["logits"][0, -1]
            logits[[0, first, *([last] if len(tokens) <= tiny["min_tokens"] else [])]] = -torch.inf
            tokens.append(int(logits.argmax()))
        expected.append((" ".join(tokenizer.decode([t for t in tokens if t not in (first, last)]).split()),))
    assert texts(Config(**tiny, decoding="greedy"), inputs(1, 1, 1)) == expected


def test_texts_of_a_clip_describe_its_frames(tiny: dict[str, Any]) -> None:
    config = Config(**tiny, decoding="greedy")
    (clip,) = inputs(3, num_frames=3)
    apart = [CaptionerInput(key=clip.key, frames=(frame,), seeds=(0,)) for frame in clip.frames]
    assert texts(config, [clip])[0] == tuple(own[0] for own in texts(config, apart))
    (single,) = inputs(1, num_frames=3)
    assert single.frame(0) is single.frames[1]


def test_every_frame_is_encoded_once(tiny: dict[str, Any]) -> None:
    config = Config(**tiny)
    encoded = []
    hook = load_model(config).model.visual.register_forward_hook(
        lambda module, given, output: encoded.append(len(given[0]))
    )
    texts(config, inputs(3, 2))
    hook.remove()
    assert encoded == [2]


def test_wrong_files_and_models_are_refused(tiny: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    plain = tiny["weights"].replace("coca.safetensors", "plain.safetensors")
    cases = [
        ({"sha256": "0" * 64}, "the settings say 0000"),
        ({"weights": "none.safetensors"}, "none.safetensors does not exist"),
        ({"model": "hf-hub:a/b"}, "open_clip has no 'hf-hub:a/b'"),
        ({"model": "vignette-plain", "weights": plain, "sha256": digest_file(Path(plain))}, "must be a CoCa"),
        ({"device": "cuda"}, "PyTorch sees no GPU here"),
        ({"max_tokens": 20}, "max_tokens must be at most 19 with vignette-coca, got 20"),
    ]
    for change, message in cases:
        with pytest.raises(ValueError, match=message):
            Captioner(Config(**{**tiny, **change})).caption(inputs(1))


def test_files_of_the_project_are_named(tiny: dict[str, Any]) -> None:
    assert Captioner(Config(**tiny)).files() == (Path(tiny["weights"]),)


@pytest.mark.parametrize(
    "change,message",
    [
        ({"weights": "x.pt"}, "must be a .safetensors"),
        ({"sha256": "a"}, "64 lower-case"),
        ({"top_p": 0.0}, "top_p"),
        ({"device": "cuda:1"}, "device must be one of"),
    ],
)
def test_settings_are_checked(tiny: dict[str, Any], change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Config(**{**tiny, **change})
