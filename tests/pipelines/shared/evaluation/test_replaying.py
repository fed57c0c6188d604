"""A row is computed again from what is on disk, and every kind of difference is seen."""

import copy
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from pipelines.shared.evaluation.replaying import replay
from tests.pipelines.shared.evaluation.test_scoring import METRICS, scored

ROW = "text_to_image_recall@1"


@pytest.fixture
def document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict:
    return scored(tmp_path, monkeypatch, METRICS, ("retrieval",))


def test_all_rows_are_equal(tmp_path: Path, document: dict) -> None:
    rows = replay(document, tmp_path / "out", list(document["scores"]))
    assert [row.score for row in rows] == list(document["scores"]) and not any(row.differences for row in rows)
    assert rows[0].value == document["scores"][rows[0].score]["value"]


@pytest.mark.parametrize("field", ["value", "low", "n"])
def test_a_published_value_that_was_changed(tmp_path: Path, document: dict, field: str) -> None:
    forged = copy.deepcopy(document)
    forged["scores"][ROW][field] += 1e-15 if field != "n" else 1
    (row,) = replay(forged, tmp_path / "out", [ROW])
    assert row.differences and row.differences[0].startswith(f"score {field} is ")


def test_a_protocol_that_was_changed(tmp_path: Path, document: dict) -> None:
    forged = copy.deepcopy(document)
    forged["protocols"]["retrieval"]["post"] = "dual_softmax"
    (row,) = replay(forged, tmp_path / "out", [ROW])
    assert row.differences == ("protocol post is 'none', published was 'dual_softmax'",)


def test_values_per_sample_that_were_changed(tmp_path: Path, document: dict) -> None:
    path = tmp_path / "out" / "per_sample.safetensors"
    values = load_file(path)
    values[f"retrieval/{ROW}"][0] = 0.5
    save_file(values, path)
    (row,) = replay(document, tmp_path / "out", [ROW])
    assert row.differences == (f"per-sample values {ROW} differ",)


def test_evidence_that_was_changed(tmp_path: Path, document: dict) -> None:
    path = tmp_path / "out" / "evidence" / "text_embeddings.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    with pytest.raises(ValueError, match=r"text_embeddings\.safetensors"):
        replay(document, tmp_path / "out", [ROW])
