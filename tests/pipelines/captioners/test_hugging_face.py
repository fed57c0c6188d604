from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from models.shared.packaged import text_tower
from pipelines.captioners import CaptionerInput
from pipelines.captioners.hugging_face import Captioner, Config, load_model
from pipelines.shared.files import digest_tree, file_digests
from tests.pipelines.builders import drawing

transformers = pytest.importorskip("transformers")
SEP, DEC, PROMPT = 102, 101, "a picture of "
TEXT = {
    **{"vocab_size": 30522, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1},
    **{"num_attention_heads": 2, "bos_token_id": DEC, "eos_token_id": SEP, "pad_token_id": 0},
}
VISION = {
    **{"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2},
    **{"image_size": 32, "patch_size": 16},
}


def words() -> Any:
    special = {"unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]", "cls_token": "[CLS]"}
    return transformers.BertTokenizerFast(tokenizer_object=text_tower().tokenizer, mask_token="[MASK]", **special)


def shaken(model: Any) -> Any:
    """With weights that say different things of different pictures."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn(parameter.shape)
    return model.eval()


def blip(folder: Path) -> None:
    text = {**TEXT, "encoder_hidden_size": 16, "sep_token_id": SEP}
    vision = {**VISION, "initializer_range": 0.02}
    shaken(
        transformers.BlipForConditionalGeneration(
            transformers.BlipConfig(text_config=text, vision_config=vision, image_text_hidden_size=8)
        )
    ).save_pretrained(folder)
    images = transformers.BlipImageProcessor(size={"height": 32, "width": 32})
    transformers.BlipProcessor(image_processor=images, tokenizer=words()).save_pretrained(folder)


def pair(folder: Path) -> None:
    decoder = transformers.BertConfig(**TEXT, is_decoder=True, add_cross_attention=True)
    config = transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(
        transformers.ViTConfig(**VISION), decoder
    )
    model = shaken(transformers.VisionEncoderDecoderModel(config))
    for settings in (model.config, model.generation_config):
        settings.decoder_start_token_id, settings.eos_token_id, settings.pad_token_id = DEC, SEP, 0
    model.save_pretrained(folder)
    transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    words().save_pretrained(folder)


@pytest.fixture(scope="module", params=[blip, pair], ids=["blip", "vision-encoder-decoder"])
def tiny(request: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    request.param(folder)
    return {"folder": str(folder), "sha256": digest_tree(folder), "min_tokens": 2, "max_tokens": 5}


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
            frames=tuple(drawing(10 * row + frame, 40, 40) for frame in range(num_frames)),
            seeds=tuple(100 * row + number for number in range(count)),
        )
        for row, count in enumerate(num_seeds)
    ]


def texts(config: Config, samples: list[CaptionerInput]) -> list[tuple[str, ...]]:
    return [written.texts for written in Captioner(config).caption(samples)]


@pytest.mark.parametrize("decoding", ["greedy", "beam", "nucleus"])
@pytest.mark.parametrize("prompt", ["", PROMPT])
def test_a_text_depends_on_its_sample_and_seed_alone(tiny: dict[str, Any], decoding: str, prompt: str) -> None:
    config = Config(**tiny, decoding=decoding, prompt=prompt)
    state = torch.get_rng_state()
    together = texts(config, inputs(2, 1))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(1)
    assert together == [texts(config, [sample])[0] for sample in inputs(2, 1)]
    assert [len(own) for own in together] == [2, 1] and all(text for own in together for text in own)
    assert not any(text.startswith("a picture") for own in together for text in own)
    assert (together[0][0] != together[0][1]) == (decoding == "nucleus")


def test_greedy_takes_the_likeliest_word_of_whole_passes(tiny: dict[str, Any]) -> None:
    config = Config(**{**tiny, "min_tokens": 0}, decoding="greedy")
    model, processor = load_model(config)
    pixels = processor(images=[inputs(1)[0].frames[0]], return_tensors="pt")["pixel_values"]
    tokens = [DEC]
    while len(tokens) <= config.max_tokens and tokens[-1] != SEP:
        name = "input_ids" if "Blip" in type(model).__name__ else "decoder_input_ids"
        with torch.no_grad():
            tokens.append(int(model(pixel_values=pixels, **{name: torch.tensor([tokens])}).logits[0, -1].argmax()))
    assert texts(config, inputs(1)) == [(text_tower().tokenizer.decode(tokens),)]


def test_texts_of_a_clip_describe_its_frames(tiny: dict[str, Any]) -> None:
    config = Config(**tiny, decoding="greedy")
    (clip,) = inputs(3, num_frames=3)
    apart = [CaptionerInput(key=clip.key, frames=(frame,), seeds=(0,)) for frame in clip.frames]
    assert texts(config, [clip])[0] == tuple(own[0] for own in texts(config, apart))


def test_another_folder_is_refused(tiny: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"sha256 is {tiny['sha256']}, the settings say 0000"):
        texts(Config(**{**tiny, "sha256": "0" * 64}), inputs(1))
    with pytest.raises(ValueError, match="does not exist"):
        texts(Config(folder=str(tmp_path / "none"), sha256="0" * 64), inputs(1))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="has no image-to-text model that can be read"):
        texts(Config(folder=str(tmp_path), sha256=digest_tree(tmp_path)), inputs(1))


def test_files_of_the_project_are_named(tiny: dict[str, Any]) -> None:
    named = {path.relative_to(tiny["folder"]).as_posix() for path in Captioner(Config(**tiny)).files()}
    assert named == set(file_digests(Path(tiny["folder"]))) and "config.json" in named


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="64 lower-case hex digits"):
        Config(folder="a", sha256="b")
    with pytest.raises(ValueError, match="decoding must be one of"):
        Config(folder="a", sha256="0" * 64, decoding="best")
    with pytest.raises(ValueError, match="device must be one of auto, cpu, cuda, got 'gpu'"):
        Config(folder="a", sha256="0" * 64, device="gpu")


def test_another_device_than_there_is_is_refused(tiny: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="PyTorch sees no GPU here"):
        texts(Config(**tiny, device="cuda"), inputs(1))
