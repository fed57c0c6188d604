"""The stage from runs and a pack to a score file, with small models in place of trained ones."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pipelines import evaluate
from pipelines.shared.evaluation import scoring
from pipelines.shared.manifests import read_manifest
from pipelines.shared.stage import StageRun
from tests.pipelines.shared.evaluation.fakes import SHADES, TwoTowers, run_of, write_pack

PARAMS = {
    "seed": 3,
    "metrics": {"retrieval": {"module": "retrieval", "recall_at": (1, 5)}},
    "evaluations": {"towers": {"model": "m", "pack": "web", "judge": "m", "metrics": ("retrieval",)}},
    "references": {"mixed": {"kind": "shuffled", "pack": "web", "judge": "m", "metrics": ("retrieval",)}},
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_pack(tmp_path / "data" / "pack" / "web")
    monkeypatch.setattr(evaluate, "load_run", lambda key: run_of(TwoTowers(), key))
    monkeypatch.setattr(scoring, "run_digest", lambda key: key * 64)
    before = torch.get_num_threads()
    yield tmp_path
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(before)


def test_scores_and_what_belongs_to_them(project: Path) -> None:
    evaluate.run(StageRun(stage="evaluate", key="towers", params=PARAMS))
    document = json.loads((project / "scores" / "towers.json").read_text())
    score = document["scores"]["text_to_image_recall@1"]
    assert score["value"] == 1 and score["low"] <= 1 <= score["high"]
    assert score["n"] == len(SHADES)
    assert sorted(document["groups"]["retrieval"]) == sorted(document["scores"])
    assert {"model_sha256", "pack_sha256", "samples_sha256", "seed", "trained_on"} <= set(document)
    values = load_file(project / "data" / "evaluate" / "towers" / "per_sample.safetensors")
    assert values["retrieval/text_to_image_recall@1"].mean() == 1
    assert "retrieval/text_to_image_owner" in values
    manifest = read_manifest(project / "data" / "evaluate" / "towers")
    for info in manifest.layers:
        info.check(project / "data" / "evaluate" / "towers")


def test_the_same_twice(project: Path) -> None:
    texts = []
    for _ in range(2):
        evaluate.run(StageRun(stage="evaluate", key="towers", params=PARAMS))
        texts.append((project / "scores" / "towers.json").read_bytes())
    assert texts[0] == texts[1]


def test_a_metric_that_is_not_there(project: Path) -> None:
    entry = {**PARAMS["evaluations"]["towers"], "metrics": ("retreival",)}
    params = {**PARAMS, "evaluations": {"towers": entry}}
    with pytest.raises(ValueError, match=r"metrics\.retreival does not exist \(did you mean retrieval\?\)"):
        evaluate.run(StageRun(stage="evaluate", key="towers", params=params))


def test_a_reference_row(project: Path) -> None:
    evaluate.run(StageRun(stage="evaluate", key="mixed", params=PARAMS))
    document = json.loads((project / "scores" / "mixed.json").read_text())
    assert (document["reference"], document["model"], document["trained_on"]) == ("shuffled", "", "")
    assert document["scores"]["text_to_image_recall@1"]["value"] < 0.3, "captions of other pictures find nothing"


def test_a_reference_with_the_name_of_an_evaluation(project: Path) -> None:
    params = {**PARAMS, "references": {"towers": PARAMS["references"]["mixed"]}}
    with pytest.raises(ValueError, match=r"references\.towers has the name of an evaluation"):
        evaluate.run(StageRun(stage="evaluate", key="towers", params=params))
