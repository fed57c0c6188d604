"""A whole evaluation, in memory and on disk."""

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file

from pipelines.shared.evaluation import scoring
from pipelines.shared.evaluation.scoring import evaluate_run
from pipelines.shared.evaluation.settings import EvaluationEntry
from pipelines.shared.evaluation.split import HeldOut
from pipelines.shared.manifests import read_manifest
from tests.pipelines.shared.evaluation.fakes import SHADES, TwoTowers, run_of, write_pack

METRICS = {"retrieval": {"module": "retrieval", "recall_at": (1, 5)}}


def scored(folder: Path, monkeypatch: pytest.MonkeyPatch, metrics: dict, names: tuple[str, ...]) -> dict:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(scoring, "run_digest", lambda key: key * 64)
    split = HeldOut.load(write_pack(folder / "data" / "pack" / "web"), ("human",))
    settings = EvaluationEntry(model="m", pack="web", judge="j", metrics=names)
    run = run_of(TwoTowers())
    return evaluate_run("e", settings, metrics, 0, run=run, load_judge=lambda: run, split=split, out=folder / "out")


def test_the_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = scored(tmp_path, monkeypatch, METRICS, ("retrieval",))
    assert (document["model"], document["reference"], document["trained_on"]) == ("m", "", "web")
    assert sorted(document["groups"]["retrieval"]) == sorted(document["scores"])
    assert document["protocols"]["retrieval"]["detector"] == "" and document["judge_sha256"] == "j" * 64


def test_everything_is_in_the_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scored(tmp_path, monkeypatch, METRICS, ("retrieval",))
    out = tmp_path / "out"
    manifest = read_manifest(out)
    for info in manifest.layers:
        info.check(out)
    named = {info.name for info in manifest.layers}
    there = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert there - named == {"manifest.json"}


def test_rows_of_values_have_their_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scored(tmp_path, monkeypatch, METRICS, ("retrieval",))
    samples = json.loads((tmp_path / "out" / "samples.json").read_text())
    values = load_file(tmp_path / "out" / "per_sample.safetensors")
    assert [each["source"] for each in samples["samples"]] == ["odd" if row % 2 else "even" for row in range(11)]
    owners = [each["owner"] for each in samples["captions"]]
    assert values["retrieval/text_to_image_owner"].tolist() == owners
    assert {each["origin"] for each in samples["captions"]} == {"human"} and len(samples["samples"]) == len(SHADES)


def test_two_metrics_of_the_same_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = METRICS | {"dual": {"module": "retrieval", "post": "dual-softmax"}}
    scored(tmp_path, monkeypatch, metrics, ("retrieval", "dual"))
    values = load_file(tmp_path / "out" / "per_sample.safetensors")
    owners = [values[f"{name}/text_to_image_owner"].tolist() for name in metrics]
    assert owners[0] == owners[1] and len(owners[0]) > len(SHADES)


def test_two_metrics_of_one_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = METRICS | {"again": METRICS["retrieval"]}
    with pytest.raises(ValueError, match="two metrics of e give the same score: image_to_text_mean_rank"):
        scored(tmp_path, monkeypatch, metrics, ("retrieval", "again"))
