"""Training behind a row, and what took part in it."""

from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.shared.reporting.trainings import Training, mark, read_training
from tests.pipelines.shared.reporting import world
from tests.pipelines.shared.reporting.world import LITE0, RECALL, record, scored

PLAIN = Training(pack="web", captions={}, num_samples=5, num_parameters=1, num_trained_parameters=1, samples_seen=1)
JUDGED = {
    "groups": {"captioning": [RECALL]},
    "protocols": {"captioning": {"metric": "clip_score", "detector": "judge"}},
    "judge": "judge",
    "judge_sha256": "5" * 64,
}


def test_cost_is_that_of_the_recorded_weights(tmp_path: Path) -> None:
    world.write_run(tmp_path / "a", "a")
    older = scored("a", about={"model_sha256": "9" * 64})
    records = [
        record(scored("a"), 1, seconds=7.0),
        record(scored("a"), 2, seconds=9.0),
        record(scored("a"), 3),
        record(older, 4, seconds=100.0),
        record(scored("other", about={"model": "b"}), 5, seconds=50.0),
    ]
    training = read_training(tmp_path, "a", records)
    assert (training.seconds, training.device) == (9.0, "cpu"), "the last that says it, of these weights"
    assert training.samples_seen == 40, "10 steps of 4"
    assert (training.num_samples, training.num_trained_parameters) == (5, 234)
    unknown = read_training(tmp_path, "a", [])
    assert unknown.seconds is None and unknown.device == ""


def test_a_run_inherits_what_its_bases_started_from(tmp_path: Path) -> None:
    world.write_run(tmp_path / "third", "third")
    world.write_run(tmp_path / "tower", "tower", base={"key": "third", "role": "clip", "sha256": "0"})
    training = read_training(tmp_path, "tower", [])
    assert [*training.runs] == ["tower", "third"]
    assert training.packaged == {"some-package/file": LITE0}
    with pytest.raises(ValueError, match="vignette train missing"):
        read_training(tmp_path, "missing", [])


def test_a_detector_that_the_model_started_from() -> None:
    started = replace(PLAIN, packaged={"pkg/file": LITE0})
    assert "detector lite0" in mark(scored("a"), "distance", started, PLAIN)
    assert mark(scored("a"), "distance", PLAIN, started) == "", "the judge's parts do not matter for a detector"
    assert mark(scored("a"), "retrieval", started, started) == "", "nothing scores it but itself"


def test_a_judge_that_took_part() -> None:
    each = scored("a", about=JUDGED)
    assert mark(each, "captioning", PLAIN, PLAIN) == ""
    itself = scored("a", about={**JUDGED, "model_sha256": "5" * 64})
    assert "the model itself" in mark(itself, "captioning", PLAIN, PLAIN)
    assert "builds on its judge" in mark(each, "captioning", replace(PLAIN, runs={"judge": "5" * 64}), PLAIN)
    both = replace(PLAIN, packaged={"tower/weights": "7" * 64})
    assert "both started from tower" in mark(each, "captioning", both, both)
    assert mark(each, "captioning", both, replace(PLAIN, packaged={"tower/weights": "8" * 64})) == ""
