"""Our network against the BLIP classes of transformers, through checkpoints that these write."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from models.shared.blip import CLS, DEC, ENC, SEP, BlipNetwork, CachedDecoder
from models.shared.blip_checkpoint import load_hugging_face
from models.shared.blip_config import NetworkConfig
from models.shared.decoding import Decoding, decode

SIZES = {
    **{"image_px": 16, "patch_px": 8, "image_width": 16, "num_image_layers": 2, "num_image_heads": 2},
    **{"text_width": 24, "num_layers": 2, "num_heads": 3, "embed_width": 8, "dropout": 0.0},
}
CAPTIONS = ["a red circle", "two dogs on a small blue square", "cat"]
transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def their_config() -> Any:
    # the defaults of these classes are not BLIP's: 8 heads, epsilon 1e-5, no label smoothing
    text = {
        **{"vocab_size": 30524, "hidden_size": 24, "intermediate_size": 96, "num_hidden_layers": 2},
        **{"num_attention_heads": 3, "encoder_hidden_size": 16, "label_smoothing": 0.1, "layer_norm_eps": 1e-12},
        **{"bos_token_id": DEC, "pad_token_id": 0, "eos_token_id": SEP, "sep_token_id": SEP},
    }
    vision = {
        **{"hidden_size": 16, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2},
        **{"image_size": 16, "patch_size": 8, "layer_norm_eps": 1e-6, "initializer_range": 0.02},
    }
    return transformers.BlipConfig(text_config=text, vision_config=vision, image_text_hidden_size=8)


def theirs(kind: str, config: Any) -> Any:
    torch.manual_seed(0)
    model = getattr(transformers, kind)(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape)
    return model


def saved(model: Any, path: Path) -> tuple[Path, str]:
    model.save_pretrained(path)
    file = path / "model.safetensors"
    return file, hashlib.sha256(file.read_bytes()).hexdigest()


def network(**settings: Any) -> BlipNetwork:
    torch.manual_seed(1)
    return BlipNetwork(NetworkConfig(**{**SIZES, **settings})).eval()


@pytest.fixture(scope="module")
def captioners(their_config: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[BlipNetwork, Any]:
    model, ours = theirs("BlipForConditionalGeneration", their_config), network()
    load_hugging_face(ours, *saved(model, tmp_path_factory.mktemp("captioner")))
    return ours, model


@pytest.fixture(scope="module")
def matchers(their_config: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[BlipNetwork, Any]:
    model, ours = theirs("BlipForImageTextRetrieval", their_config), network()
    load_hugging_face(ours, *saved(model, tmp_path_factory.mktemp("matcher")))
    return ours, model


def images(ours: BlipNetwork) -> tuple[torch.Tensor, torch.Tensor]:
    """Images in [-1, 1], and as the checkpoints' preprocessing normalises them."""
    image = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(2)) * 2 - 1
    processor = transformers.BlipImageProcessor(do_resize=False)
    bytes_hwc = ((image + 1) * 127.5).round().byte()
    pixels = processor(list(bytes_hwc), return_tensors="pt")["pixel_values"]
    return bytes_hwc.float() / 127.5 - 1, pixels


@torch.no_grad()
def test_image_states(captioners: tuple[BlipNetwork, Any]) -> None:
    ours, model = captioners
    image, pixels = images(ours)
    expected = model.vision_model(pixels).last_hidden_state
    torch.testing.assert_close(ours.image_states({"image": image}), expected, rtol=0, atol=1e-5)


@torch.no_grad()
def test_decoder_logits_and_language_loss(captioners: tuple[BlipNetwork, Any]) -> None:
    ours, model = captioners
    image, pixels = images(ours)
    tokens, mask = ours.tokenize(CAPTIONS)
    _, memory = ours.med.memories(ours.image_states({"image": image}))
    their_tokens = tokens.clone()
    their_tokens[:, 0] = DEC
    labels = their_tokens.masked_fill(~mask, -100)
    output = model(pixel_values=pixels, input_ids=their_tokens, attention_mask=mask.long(), labels=labels)
    logits = ours.med.logits(ours.med.decode(their_tokens, memory))
    torch.testing.assert_close(logits[mask], output.logits[mask], rtol=0, atol=1e-5)
    loss = ours.language_loss(tokens, mask, memory, label_smoothing=0.1)
    torch.testing.assert_close(loss, output.loss, rtol=0, atol=1e-5)


@torch.no_grad()
def test_prompt_is_not_scored(captioners: tuple[BlipNetwork, Any]) -> None:
    ours, model = captioners
    image, pixels = images(ours)
    prompt = "a picture of "
    tokens, mask = ours.tokenize([prompt + caption for caption in CAPTIONS])
    their_tokens = tokens.clone()
    their_tokens[:, 0] = DEC
    labels = their_tokens.masked_fill(~mask, -100)
    labels[:, :4] = -100  # the released code: the prompt's tokens, [CLS] counted, [SEP] not
    output = model(pixel_values=pixels, input_ids=their_tokens, attention_mask=mask.long(), labels=labels)
    _, memory = ours.med.memories(ours.image_states({"image": image}))
    num_prompt_tokens = len(ours.prompt_tokens(prompt)) - 1
    loss = ours.language_loss(tokens, mask, memory, num_prompt_tokens, label_smoothing=0.1)
    torch.testing.assert_close(loss, output.loss, rtol=0, atol=1e-5)


@pytest.mark.parametrize("penalty", [1.0, 1.3])
@pytest.mark.parametrize(
    ("settings", "their_settings"),
    [
        ({"decoding": "greedy"}, {"num_beams": 1}),
        ({"decoding": "beam", "num_beams": 3}, {"num_beams": 3, "early_stopping": "never"}),
        (
            {"decoding": "beam", "length_penalty": 0.3},
            {"num_beams": 3, "early_stopping": "never", "length_penalty": 0.3},
        ),
    ],
)
@torch.no_grad()
def test_decoding(captioners: tuple[BlipNetwork, Any], settings: Any, their_settings: Any, penalty: float) -> None:
    ours, model = captioners
    image, pixels = images(ours)
    prompt = torch.tensor(ours.prompt_tokens("a picture of ")).expand(3, -1)
    generated = model.text_decoder.generate(
        input_ids=prompt,
        attention_mask=torch.ones_like(prompt),
        encoder_hidden_states=model.vision_model(pixels).last_hidden_state,
        encoder_attention_mask=torch.ones(3, 5, dtype=torch.int64),
        do_sample=False,
        min_new_tokens=2,
        max_new_tokens=8,
        eos_token_id=SEP,
        pad_token_id=0,
        repetition_penalty=penalty,
        **their_settings,
    )
    expected = [[int(t) for t in row[4:] if t not in (0, SEP)] for row in generated]
    _, memory = ours.med.memories(ours.image_states({"image": image}))
    limits = Decoding(min_tokens=2, max_tokens=8, repetition_penalty=penalty, **settings)
    assert decode(CachedDecoder(ours.med, memory), prompt, limits, [], SEP) == expected


@torch.no_grad()
def test_matching_and_embeddings(matchers: tuple[BlipNetwork, Any]) -> None:
    ours, model = matchers
    image, pixels = images(ours)
    tokens, mask = ours.tokenize(CAPTIONS)
    inputs = {"pixel_values": pixels, "attention_mask": mask.long()}
    memory, _ = ours.med.memories(ours.image_states({"image": image}))
    for first in (CLS, ENC):
        their_tokens = tokens.clone()
        their_tokens[:, 0] = first
        expected = model(input_ids=their_tokens, **inputs).itm_score
        torch.testing.assert_close(ours.match_logits(tokens, mask, memory, first), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(ours.match(image, CAPTIONS), expected.softmax(1)[:, 1], rtol=0, atol=1e-5)
    cosine = model(input_ids=tokens, use_itm_head=False, **inputs).itm_score
    torch.testing.assert_close(ours.encode_image(image) @ ours.encode_text(CAPTIONS).T, cosine, rtol=0, atol=1e-5)


def test_what_a_checkpoint_lacks_stays_as_it_was(captioners: tuple[BlipNetwork, Any]) -> None:
    ours, before = captioners[0].state_dict(), network().state_dict()
    kept = {name for name, value in ours.items() if torch.equal(value, before[name])}
    parts = ("match_head", "image_projection", "text_projection")
    own = [name for name in ours if name.startswith(parts) or ".self_attention.encoder." in name]
    assert kept == set(own)


def test_checkpoints_that_do_not_fit_are_refused(their_config: Any, tmp_path: Path) -> None:
    model = theirs("BlipForImageTextRetrieval", their_config)
    path, digest = saved(model, tmp_path / "whole")
    with pytest.raises(ValueError, match="sha256"):
        load_hugging_face(network(), path, "0" * 64)
    with pytest.raises(ValueError, match="weights need image_encoder: vit and sharing"):
        load_hugging_face(network(sharing="none"), path, digest)
    with pytest.raises(ValueError, match=r"vision_proj.weight is \(8, 16\), the settings make it \(4, 16\)"):
        load_hugging_face(network(embed_width=4), path, digest)
    with pytest.raises(ValueError, match=r"unknown \['text_encoder.encoder.layer.1"):
        load_hugging_face(network(num_layers=1), path, digest)
    state = load_file(path)
    del state["itm_head.bias"]
    save_file(state, tmp_path / "part.safetensors")
    digest = hashlib.sha256((tmp_path / "part.safetensors").read_bytes()).hexdigest()
    with pytest.raises(ValueError, match=r"missing \['itm_head.bias'\]"):
        load_hugging_face(network(), tmp_path / "part.safetensors", digest)
