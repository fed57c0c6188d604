from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from metrics.shared.detectors import DetectorSpec
from pipelines.shared.evaluation.storing import file_name, read_index, read_inputs, write_evidence

METRIC = SimpleNamespace(detector=DetectorSpec(name="random-vgg"), prefix="A photo depicts ")


def test_round_trip(tmp_path: Path) -> None:
    inputs = {
        "images": torch.arange(24, dtype=torch.uint8).view(2, 3, 2, 2),
        "text_owner": torch.tensor([0, 1]),
        "log_likelihoods": torch.tensor([0.1], dtype=torch.float64),
        "written_captions": ["é", "", "a\nb"],
    }
    write_evidence(tmp_path, {"one": {"module": "x"}}, {"one": (SimpleNamespace(), inputs)})
    index = read_index(tmp_path)
    assert index["one"]["entry"] == {"module": "x"}
    found = read_inputs(tmp_path, index["one"]["inputs"])
    assert found["written_captions"] == inputs["written_captions"]
    for name in ("images", "text_owner", "log_likelihoods"):
        assert torch.equal(found[name], inputs[name]) and found[name].dtype == inputs[name].dtype


def test_metrics_share_what_is_the_same(tmp_path: Path) -> None:
    rows = {"reference_features": torch.zeros(2, 64), "pair_text_embeddings": torch.zeros(2, 3)}
    other = SimpleNamespace(detector=METRIC.detector)
    entries = {name: {"module": "x"} for name in "abc"}
    write_evidence(tmp_path, entries, {"a": (METRIC, rows), "b": (METRIC, rows), "c": (other, rows)})
    names = sorted(path.name.split("-")[0] for path in tmp_path.glob("*.safetensors"))
    assert names == ["pair_text_embeddings", "pair_text_embeddings.safetensors", "reference_features"]


def test_names_tell_detectors_and_prefixes_apart() -> None:
    assert file_name("text_owner", METRIC) == "text_owner.safetensors"
    assert file_name("train_features", METRIC).startswith("train_features-random-vgg-")
    changed = SimpleNamespace(detector=SimpleNamespace(name="random-vgg", identity="other weights"))
    assert file_name("train_features", METRIC) != file_name("train_features", changed)


def test_no_evidence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`dvc pull` brings it"):
        read_index(tmp_path)
