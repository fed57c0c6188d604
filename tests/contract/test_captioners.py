"""What every captioner must do, for every module in the folder; their own tests ask them for texts."""

import importlib
import pickle
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from pipelines.shared.files import canonical_json
from pipelines.shared.params import plugin_names

SETTINGS: dict[str, dict[str, Any]] = {
    "chat_server": {"model": "a"},
    "coca": {"model": "coca_ViT-B-32", "weights": "there/a.safetensors", "sha256": "0" * 64},
    "hugging_face": {"folder": "there", "sha256": "0" * 64},
}


@pytest.fixture(params=plugin_names("pipelines.captioners"))
def name(request: Any) -> str:
    return request.param


def test_module(name: str) -> None:
    module = importlib.import_module(f"pipelines.captioners.{name}")
    assert module.__doc__ and module.Config.__doc__ and module.Captioner.__doc__
    assert module.Config.__dataclass_params__.frozen
    assert all(field.kw_only for field in fields(module.Config))


def test_it_is_made_without_a_model_and_says_what_it_is(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    Path("there").mkdir()
    Path("there/a.safetensors").touch()
    module = importlib.import_module(f"pipelines.captioners.{name}")
    config = module.Config(**SETTINGS[name])
    captioner = module.Captioner(config)
    assert captioner.model in ("0" * 64, "server:a")
    assert "max_tokens" in captioner.decoding and canonical_json(captioner.decoding)
    assert pickle.loads(pickle.dumps(config)) == config and hash(config) == hash(module.Config(**SETTINGS[name]))
