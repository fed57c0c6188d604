import pytest
from ruamel.yaml import YAML

from pipelines.shared.training.card import write_card

DOCUMENT = {
    "key": "clip-web",
    "module": "clip_locked",
    "capabilities": ["encode_image", "encode_text"],
    "pack": {
        "key": "web",
        "manifest_sha256": "a" * 64,
        "captions": {"web": 1, "human": 2.5},
        "num_train_samples": 12,
        "num_val_samples": 2,
    },
    "base": {},
    "packaged_sha256": {"some/file": "b" * 64},
    "training": {"batch_size": 8},
    "step": 40,
    "weights": "average",
    "num_parameters": 12345,
    "num_trained_parameters": 45,
    "environment": {"torch": "2", "device": "cpu", "precision": "float32", "num_processes": 1},
    "model_sha256": "c" * 64,
}


def card(tmp_path, **changed):
    write_card(tmp_path / "README.md", {**DOCUMENT, **changed}, {"step": 40, "train/loss": 0.5, "learning_rate": 1.0})
    return (tmp_path / "README.md").read_text()


def front_matter(text):
    _, head, _ = text.split("---\n", 2)
    return YAML(typ="safe", pure=True).load(head)


def test_front_matter_is_yaml(tmp_path):
    assert front_matter(card(tmp_path)) == {
        "library_name": "vignette",
        "pipeline_tag": "zero-shot-image-classification",
        "tags": ["vignette", "clip-locked"],
    }


@pytest.mark.parametrize(
    ("capabilities", "captions", "task"),
    [
        (["generate"], {"web": 1}, "text-to-image"),
        (["generate", "reconstruct"], {}, "unconditional-image-generation"),
        (["caption"], {"web": 1}, "image-to-text"),
        (["match"], {"web": 1}, None),
    ],
)
def test_task(tmp_path, capabilities, captions, task):
    text = card(tmp_path, capabilities=capabilities, pack={**DOCUMENT["pack"], "captions": captions})
    assert front_matter(text).get("pipeline_tag") == task


def test_facts_are_there(tmp_path):
    text = card(tmp_path, base={"role": "clip", "key": "below", "sha256": "d" * 64})
    facts = ("12 samples", "web 1, human 2.5", "12,345", "some/file", "40 steps of 8", "a" * 64, "c" * 64, "d" * 64)
    for fact in facts:
        assert fact in text
    assert "| train/loss | 0.5 |" in text
    assert "learning_rate |" not in text


def test_a_run_without_training_says_so(tmp_path):
    write_card(tmp_path / "README.md", {**DOCUMENT, "step": 0}, {"step": 0, "num_samples": 0})
    text = (tmp_path / "README.md").read_text()
    assert "| Training | none: these are the weights that the model began with |" in text
    for told in ("Trained on", "Captions", "were trained", "Losses at the end", "moving average"):
        assert told not in text
