"""Two evaluations of stored values: compared where they can be, refused where not."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from metrics.shared.bootstrap import Resampling
from pipelines.shared.comparing import Scored, compare

RNG = np.random.default_rng(0)
OWNER = np.repeat(np.arange(30), 2)
BASE = RNG.random(60)
DOCUMENT = {
    "groups": {"retrieval": ["recall", "median"], "distance": ["fd"]},
    "scores": {"recall": {"n": 30}, "median": {"n": 30}, "fd": {"value": 2.0, "n": 40}},
    "protocols": {"retrieval": {"detector": "", "seed": 0}, "distance": {"detector": "clip-locked", "seed": 0}},
    "samples_sha256": "s",
    "seed": 3,
    "judge": "clip-locked",
    "judge_sha256": "j",
}


def scored(folder: Path, key: str, gain: float = 0.0, **changes: object) -> Scored:
    document = DOCUMENT | changes
    (folder / "scores").mkdir(exist_ok=True)
    (folder / "scores" / f"{key}.json").write_text(json.dumps(document))
    (folder / "data" / key).mkdir(parents=True)
    values = {
        "retrieval/recall": BASE + gain,
        "retrieval/owner": OWNER,
        "distance/fd_leave_one_group_out": 2 + gain + np.linspace(-0.1, 0.1, 10),
    }
    save_file(values, folder / "data" / key / "per_sample.safetensors")
    return Scored.load(folder / "scores", folder / "data", key)


def test_a_mean(tmp_path: Path) -> None:
    found = compare(scored(tmp_path, "a"), scored(tmp_path, "b", 0.1), "recall", Resampling())
    assert found is not None
    assert (found.value, found.low, found.high) == pytest.approx((0.1, 0.1, 0.1))
    assert found.n == 30, "captions of one sample count once"


def test_a_distance(tmp_path: Path) -> None:
    first = scored(tmp_path, "a")
    second = scored(tmp_path, "b", scores=DOCUMENT["scores"] | {"fd": {"value": 1.5, "n": 50}})
    found = compare(first, second, "fd", Resampling())
    assert found is not None and found.value == -0.5 and found.n == 40


def test_a_median_has_no_values_per_unit(tmp_path: Path) -> None:
    assert compare(scored(tmp_path, "a"), scored(tmp_path, "b"), "median", Resampling()) is None


@pytest.mark.parametrize(
    ("score", "changes", "field"),
    [
        ("recall", {"samples_sha256": "other"}, "samples_sha256"),
        ("recall", {"seed": 4}, "noise_seed"),
        ("fd", {"judge_sha256": "other"}, "judge_sha256"),
        ("recall", {"protocols": DOCUMENT["protocols"] | {"retrieval": {"detector": "", "seed": 1}}}, "seed"),
    ],
)
def test_what_cannot_be_compared(tmp_path: Path, score: str, changes: dict, field: str) -> None:
    first, second = scored(tmp_path, "a"), scored(tmp_path, "b", **changes)
    with pytest.raises(ValueError, match=rf"a and b cannot be compared: {field} is"):
        compare(first, second, score, Resampling())


def test_another_judge_does_not_matter_where_none_judges(tmp_path: Path) -> None:
    first, second = scored(tmp_path, "a"), scored(tmp_path, "b", judge_sha256="other")
    assert compare(first, second, "recall", Resampling()) is not None


def test_a_score_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a has no score 'fid'; it has fd, median, recall"):
        compare(scored(tmp_path, "a"), scored(tmp_path, "b"), "fid", Resampling())


def test_an_evaluation_that_was_not_run(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="run `vignette evaluate a`"):
        Scored.load(tmp_path, tmp_path, "a")
