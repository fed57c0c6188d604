"""BLIP checkpoints that `transformers` writes, as runs without training, and as captioner and matcher of a round."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from models.shared.blip import DEC, ENC, SEP
from pipelines import recaption, train
from pipelines.shared.judging import model_frames, sample_frames
from pipelines.shared.layers import read_layer
from pipelines.shared.manifests import read_manifest
from pipelines.shared.runs import load_run
from pipelines.shared.shards import read_shard
from pipelines.shared.stage import StageRun
from tests.models.shared.test_blip_checkpoint import CAPTIONS, SIZES, saved, their_config, theirs

__all__ = ["their_config"]

transformers = pytest.importorskip("transformers")
PROMPT = "a picture of "
IN_PROCESS = ("--direct_running_mode=in_memory", "--direct_num_workers=1")
DECODING = {"decoding": "greedy", "min_tokens": 2, "max_tokens": 6}


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_pack: Any, their_config: Any) -> Iterator[Any]:
    """Params of a project with both checkpoints, and the models that wrote them."""
    monkeypatch.chdir(tmp_path)
    write_pack(tmp_path / "data" / "pack" / "web", {"train": 6, "val": 2})
    writers, entries = {}, {}
    for key, kind in (("writer", "BlipForConditionalGeneration"), ("judge", "BlipForImageTextRetrieval")):
        writers[key] = theirs(kind, their_config)
        path, sha256 = saved(writers[key], tmp_path / "weights" / key)
        weights = {"weights": str(path), "weights_sha256": sha256}
        entries[key] = {"module": "blip", "pack": "web", "training": {"steps": 0}, **SIZES, **weights, "queue_size": 8}
    prompted = {"module": "blip_captioner", "base": "writer", "pack": "web", "training": {"steps": 0}}
    rounds = {"pack": "web", "matcher": "judge", "clip": "judge", "decoding": DECODING, "num_audited": 0}
    before = torch.get_num_threads()
    yield (
        {
            "seed": 0,
            "models": entries,
            "stacked": {"prompted": prompted},
            "recaptions": {key: {**rounds, "captioner": key} for key in ("writer", "prompted")},
        },
        writers,
    )
    torch.set_num_threads(before)
    torch.set_deterministic_debug_mode("default")


def normalised(image: torch.Tensor) -> torch.Tensor:
    """Pictures in [-1, 1] as the checkpoints were trained on them."""
    processor = transformers.BlipImageProcessor(do_resize=False)
    return processor(list(((image + 1) * 127.5).round().byte()), return_tensors="pt")["pixel_values"]


@torch.no_grad()
def written(model: Any, pixels: torch.Tensor, prompt: list[int], run: Any) -> list[str]:
    """Greedy texts by `transformers`, behind the prompt."""
    start = torch.tensor([prompt]).expand(len(pixels), -1)
    states = model.vision_model(pixels).last_hidden_state
    rows = model.text_decoder.generate(
        input_ids=start,
        attention_mask=torch.ones_like(start),
        encoder_hidden_states=states,
        encoder_attention_mask=torch.ones(states.shape[:2], dtype=torch.int64),
        do_sample=False,
        num_beams=1,
        min_new_tokens=2,
        max_new_tokens=6,
        eos_token_id=SEP,
        pad_token_id=0,
    )
    return run.model.network.tokenizer.decode_batch(
        [[int(t) for t in row if t not in (0, SEP)] for row in rows[:, start.shape[1] :]]
    )


@torch.no_grad()
def matched(model: Any, pixels: torch.Tensor, texts: list[str], run: Any) -> list[float]:
    """Match probabilities of texts with one picture, by `transformers`."""
    tokens, mask = run.model.network.tokenize(texts)
    tokens[:, 0] = ENC
    pixels = pixels.expand(len(texts), -1, -1, -1)
    scores = model(input_ids=tokens, attention_mask=mask.long(), pixel_values=pixels).itm_score
    return scores.softmax(dim=1)[:, 1].tolist()


def test_a_checkpoint_writes_and_judges_as_its_own_classes_do(published: Any) -> None:
    params, models = published
    for key in ("writer", "judge", "prompted"):
        train.run(StageRun(stage="train", key=key, params=params))
    shutil.rmtree("weights")  # a run has all that it needs
    judge, captions = load_run("judge", "cpu"), 0
    for captioner, prompt in (("writer", ""), ("prompted", PROMPT)):
        recaption.run(StageRun(stage="recaption", key=captioner, params=params, beam_options=IN_PROCESS))
        run, folder = load_run(captioner, "cpu"), Path("data/recaption") / captioner
        manifest = read_manifest(folder)
        for shard, layer in zip(read_manifest(Path("data/pack/web")).shards, manifest.layers, strict=True):
            samples = list(read_shard(Path("data/pack/web"), shard))
            pixels = normalised(model_frames([sample_frames(sample, 1)[0] for sample in samples], run))
            expected = written(models["writer"], pixels, run.model.network.prompt_tokens(prompt), run)
            rows = read_layer(folder, layer).to_pylist()
            for row, sample, text, one in zip(rows, samples, expected, pixels, strict=True):
                texts = [each["text"] for each in row["candidates"]]
                assert texts == [*(caption.text for caption in sample.captions), text]
                match = [dict(each["scores"])["match"] for each in row["candidates"]]
                assert match == pytest.approx(matched(models["judge"], one, texts, judge), abs=1e-5)
                captions += len(texts)
    assert captions > 2 * 8, "old texts and new ones"


@torch.no_grad()
def test_logits_are_those_of_its_own_classes(published: Any) -> None:
    params, models = published
    for key in ("writer", "judge"):
        train.run(StageRun(stage="train", key=key, params=params))
    writer, judge = (load_run(key, "cpu").model.network for key in ("writer", "judge"))
    image = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(3)) * 2 - 1
    image = ((image + 1) * 127.5).round() / 127.5 - 1
    tokens, mask = writer.tokenize(CAPTIONS)
    inputs = {"pixel_values": normalised(image), "attention_mask": mask.long()}
    tokens[:, 0] = DEC
    _, memory = writer.med.memories(writer.image_states({"image": image}))
    logits = writer.med.logits(writer.med.decode(tokens, memory))
    torch.testing.assert_close(
        logits[mask], models["writer"](input_ids=tokens, **inputs).logits[mask], rtol=0, atol=1e-5
    )
    tokens[:, 0] = ENC
    memory, _ = judge.med.memories(judge.image_states({"image": image}))
    expected = models["judge"](input_ids=tokens, **inputs).itm_score
    torch.testing.assert_close(judge.match_logits(tokens, mask, memory), expected, rtol=0, atol=1e-5)


def test_what_a_run_without_training_leaves(published: Any) -> None:
    params, _ = published
    train.run(StageRun(stage="train", key="judge", params=params))
    assert Path("runs/judge/history.csv").read_text() == "step,num_samples\n0,0\n"
    assert Path("timings/judge.json").read_text().split() == [
        "{",
        '"samples_per_sec":',
        "0.0,",
        '"seconds":',
        "0.0",
        "}",
    ]
    assert list(Path("dvclive/judge").rglob("*.tsv")) and not list(Path(".vignette/features").rglob("*"))
    card = Path("runs/judge/README.md").read_text()
    assert "none: these are the weights that the model began with" in card and "Trained on" not in card
