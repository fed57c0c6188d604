from pathlib import Path
from typing import Any

import pytest

from pipelines.shared.audits import audit_summary, proportion, read_audit
from pipelines.shared.documents import write_sealed


def result(judged: int, right: int, wrong: int, web: tuple[int, int], written: tuple[int, int]) -> dict[str, Any]:
    return {
        "audit": {"judged": judged, "right_accepted": right, "wrong_accepted": wrong},
        "texts": {
            "judged": {"web": web[0], "human": 3, "synthetic": written[0]},
            "kept": {"web": web[1], "human": 3, "synthetic": written[1]},
        },
        "writers": {"judged": {"captioner": written[0]}, "kept": {"captioner": written[1]}},
    }


def test_shards_are_added_up_by_split() -> None:
    parts = [
        ("train", result(10, 8, 2, (5, 1), (10, 9))),
        ("train", result(10, 6, 2, (5, 0), (10, 3))),
        ("val", result(0, 0, 0, (0, 0), (2, 2))),
    ]
    audit = audit_summary(parts)
    train, val = audit["planted"]["train"], audit["planted"]["val"]
    assert train["num_samples"] == 20
    assert {name: train[name]["value"] for name in ("precision", "recall", "false_acceptance")} == {
        **{"precision": 14 / 18, "recall": 14 / 20, "false_acceptance": 4 / 20}
    }
    assert val == {"num_samples": 0, "precision": None, "recall": None, "false_acceptance": None}
    assert audit["rejected"]["by_origin"]["web"]["value"] == 9 / 10
    assert audit["rejected"]["by_origin"]["synthetic"]["value"] == 8 / 22
    assert audit["rejected"]["by_captioner"] == {"captioner": audit["rejected"]["by_origin"]["synthetic"]}
    assert "human" not in audit["rejected"]["by_origin"]


@pytest.mark.parametrize(
    "count,n,low,high",
    [(0, 10, 0.0, 0.3085), (10, 10, 0.6915, 1.0), (5, 10, 0.1871, 0.8129), (1, 20, 0.0013, 0.2487)],
)
def test_intervals_are_those_of_the_tables(count: int, n: int, low: float, high: float) -> None:
    """Clopper and Pearson 1934, as in the tables of Brown, Cai and DasGupta 2001."""
    found = proportion(count, n)
    assert found is not None
    assert (found["low"], found["high"]) == pytest.approx((low, high), abs=1e-4)
    assert found["n"] == n and found["value"] == count / n


def test_a_round_without_an_audit(tmp_path: Path) -> None:
    assert read_audit(tmp_path) is None
    write_sealed(tmp_path / "audit.json", {"planted": {}})
    assert read_audit(tmp_path) == {"planted": {}}
    (tmp_path / "audit.json").write_text((tmp_path / "audit.json").read_text().replace("planted", "plantee"))
    with pytest.raises(ValueError, match=r"audit\.json is damaged"):
        read_audit(tmp_path)
