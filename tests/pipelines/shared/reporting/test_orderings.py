"""Claimed orderings of evaluations and of recaption rounds."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metrics.shared.bootstrap import Resampling
from metrics.shared.paired import PairedMeans, holm
from pipelines.shared.comparing import compare
from pipelines.shared.layers import write_layer
from pipelines.shared.manifests import Counts, Manifest, write_manifest
from pipelines.shared.recaptioning import CANDIDATES_SCHEMA
from pipelines.shared.records import Caption
from pipelines.shared.reporting.orderings import OrderingEntry, orderings, rejected_shares
from pipelines.shared.shards import describe
from tests.pipelines.shared.reporting.world import FD, MEDIAN, RECALL, scored

RESAMPLING = Resampling(num_resamples=200, seed=1)
SCORED = {name: scored(name, recall=recall) for name, recall in (("low", 0.1), ("high", 0.8), ("higher", 0.85))}


def claimed(*rising: str, folder: Path = Path(), **settings: Any) -> Any:
    entry = {"rising": rising, **(settings or {"score": RECALL})}
    (found,) = orderings({"claim": entry}, SCORED, folder, RESAMPLING)
    return found


def test_steps_are_paired_tests_corrected_together() -> None:
    found = claimed("low", "high", "higher")
    alone = [compare(SCORED[a], SCORED[b], RECALL, RESAMPLING) for a, b in (("low", "high"), ("high", "higher"))]
    for step, pair, adjusted in zip(found.steps, alone, holm([pair.p_value() for pair in alone if pair]), strict=True):
        assert pair and (step.difference, step.low, step.high, step.n) == (pair.value, pair.low, pair.high, pair.n)
        assert step.p_value == adjusted
    assert [(step.first_value, step.second_value) for step in found.steps] == [(0.1, 0.8), (0.8, 0.85)]


@pytest.mark.parametrize(
    "rising,steps,whole",
    [
        (("low", "high"), ["shown"], "shown"),
        (("low", "high", "higher"), ["shown", "not shown"], "not shown"),
        (("high", "low"), ["contradicted"], "contradicted"),
        (("low", "higher", "high"), ["shown", "not shown"], "not shown"),
        (("higher", "high", "low"), ["not shown", "contradicted"], "contradicted"),
    ],
)
def test_verdicts(rising: tuple[str, ...], steps: list[str], whole: str) -> None:
    found = claimed(*rising)
    assert ([step.verdict for step in found.steps], found.verdict) == (steps, whole)


def write_round(folder: Path, rejected: dict[int, list[bool]]) -> None:
    """Samples by number, each with a caption of a person, an unjudged web text and synthetic ones, rejected or not."""
    rows = [
        {
            "key": f"{number:020x}",
            "candidates": [
                {**Caption(text="name", origin="human").as_dict(), "kept": True},
                {**Caption(text="unjudged", origin="web").as_dict(), "kept": False},
                *(
                    {**Caption(text=str(i), origin="synthetic", scores={"match": 0.5}).as_dict(), "kept": not each}
                    for i, each in enumerate(found)
                ),
            ],
        }
        for number, found in sorted(rejected.items())
    ]
    count = write_layer(folder / "train" / "00000.parquet", rows, CANDIDATES_SCHEMA)
    layers = (describe(folder / "train" / "00000.parquet", folder, count),)
    counts = Counts(num_in=count, kept=count)
    about = {"stage": "recaption", "instance": folder.name, "settings_digest": "0"}
    write_manifest(folder, Manifest(**about, counts=counts, layers=layers))


def test_shares_of_rejected_texts(tmp_path: Path) -> None:
    write_round(tmp_path, {0: [True, False], 1: [True], 2: [], 3: [False]})
    assert rejected_shares(tmp_path, "synthetic") == {f"{0:020x}": 0.5, f"{1:020x}": 1.0, f"{3:020x}": 0.0}
    assert rejected_shares(tmp_path, "web") == {}, "what was not judged was not rejected"


def test_rounds_are_compared_on_the_samples_that_both_judged(tmp_path: Path) -> None:
    few = {number: [number % 8 == 0] for number in range(200)}
    many = {number: [number % 2 == 0] for number in range(100, 300)}
    write_round(tmp_path / "recaption" / "few", few)
    write_round(tmp_path / "recaption" / "many", many)
    (step,) = claimed("few", "many", folder=tmp_path, rejected="synthetic").steps
    both = [np.array([float(side[number][0]) for number in range(100, 200)]) for side in (few, many)]
    expected = PairedMeans(both[0], both[1], np.arange(100), RESAMPLING)
    assert (step.difference, step.low, step.high, step.n) == (expected.value, expected.low, expected.high, 100)
    assert (step.first_value, step.second_value, step.verdict) == (0.12, 0.5, "shown")


def test_nothing_in_common(tmp_path: Path) -> None:
    write_round(tmp_path / "recaption" / "a", {0: [True], 1: [True]})
    write_round(tmp_path / "recaption" / "b", {1: [True], 2: [True]})
    with pytest.raises(ValueError, match=r"report\.orderings\.claim: a and b judged no two samples in common"):
        claimed("a", "b", folder=tmp_path, rejected="synthetic")


@pytest.mark.parametrize(
    "rising,score,message",
    [
        (("low", "none"), RECALL, "there is no evaluation 'none'"),
        (("low", "high"), MEDIAN, "no values by sample are kept"),
        (("low", "high"), "missing", "missing"),
    ],
)
def test_what_cannot_be_ordered(rising: tuple[str, ...], score: str, message: str) -> None:
    with pytest.raises(ValueError, match=rf"report\.orderings\.claim: .*{message}"):
        claimed(*rising, score=score)


def test_distances_are_ordered_by_their_jackknife() -> None:
    (found,) = orderings(
        {"claim": {"rising": ("near", "far"), "score": FD}},
        {"near": scored("near", fd=1.0), "far": scored("far", fd=3.0)},
        Path(),
        RESAMPLING,
    )
    assert found.verdict == "shown"


@pytest.mark.parametrize(
    "settings,message",
    [
        ({"rising": ("a",), "score": "s"}, "two or more"),
        ({"rising": ("a", "a"), "score": "s"}, "two or more different"),
        ({"rising": ("a", "b")}, "either score"),
        ({"rising": ("a", "b"), "score": "s", "rejected": "web"}, "either score"),
        ({"rising": ("a", "b"), "rejected": "human"}, "web or synthetic"),
    ],
)
def test_settings_that_claim_nothing(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OrderingEntry(**settings)
