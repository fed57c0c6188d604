"""Only what shares samples, judge and protocol stands together."""

from pipelines.shared.reporting.comparable import comparable
from tests.pipelines.shared.reporting.world import FD, MEDIAN, RECALL, scored


def test_one_group_for_each_metric_and_protocol() -> None:
    found = comparable(
        [
            scored("b"),
            scored("a"),
            scored("other", about={"samples_sha256": "d" * 64}),
            scored("noise", about={"reference": "shuffled"}),
        ]
    )
    assert [(group.metric, [each.key for each in group.models]) for group in found] == [
        ("distance", ["a", "b"]),
        ("distance", ["other"]),
        ("retrieval", ["a", "b"]),
        ("retrieval", ["other"]),
    ]
    assert [each.key for each in found[2].references] == ["noise"], "a reference is beside the models of its samples"
    assert found[2].scores == (RECALL, MEDIAN)
    assert found[0].scores == (FD,)
    assert len({group.sha256 for group in found}) == 4


def test_a_seed_and_a_judge_are_parts_of_the_protocol() -> None:
    assert len(comparable([scored("a"), scored("b", seed=1)])) == 4
    judged = {
        "protocols": {"retrieval": {"metric": "clip_score", "detector": "first"}},
        "groups": {"retrieval": [RECALL]},
    }
    same = [scored(key, about=judged) for key in "ab"]
    assert len(comparable(same)) == 1
    assert len(comparable([same[0], scored("b", about={**judged, "judge_sha256": "e" * 64})])) == 2
