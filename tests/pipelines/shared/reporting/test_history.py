"""Records of a score over time."""

from pipelines.shared.reporting.history import HEIGHT, WIDTH, histories
from tests.pipelines.shared.reporting.world import MEDIAN, RECALL, record, scored


def test_a_line_breaks_where_values_are_not_comparable() -> None:
    records = [
        record(scored("a", recall=0.2), 1),
        record(scored("a", recall=0.4), 2),
        record(scored("b", recall=0.9), 2),
        record(scored("a", recall=0.8, about={"samples_sha256": "d" * 64}), 3),
        record(scored("a", recall=0.6, about={"samples_sha256": "d" * 64}), 4),
    ]
    (plot,) = histories(records, ["a"], (RECALL,))["a"]
    assert [point.value for point in plot.points] == [0.2, 0.4, 0.8, 0.6]
    assert [point.differs for point in plot.points] == [(), (), ("samples_sha256",), ()]
    assert [len(line.split()) for line in plot.lines] == [2, 2]
    assert [point.recorded for point in plot.points] == [f"2030-01-0{day}" for day in range(1, 5)]
    assert all(0 <= point.x <= WIDTH for point in plot.points)
    assert all(0 <= point.y_high <= point.y <= point.y_low <= HEIGHT for point in plot.points)
    assert plot.points[2].y < plot.points[1].y, "a larger value is higher on the page"


def test_one_record_is_no_history() -> None:
    records = [record(scored("a"), 1), record(scored("b"), 1), record(scored("b"), 2)]
    assert [*histories(records, ["a", "b"], (RECALL, MEDIAN, "other"))] == ["b"]
    assert [plot.score for plot in histories(records, ["b"], (RECALL, MEDIAN))["b"]] == [RECALL, MEDIAN]
    assert histories([], ["a"], (RECALL,)) == {}


def test_equal_values_are_drawn_too() -> None:
    flat = {"scores": {RECALL: {"value": 1.0, "low": 1.0, "high": 1.0, "n": 3, "higher_is_better": True}}}
    records = [record(scored("a", about=flat), day) for day in (1, 2)]
    (plot,) = histories(records, ["a"], (RECALL,))["a"]
    assert len(plot.lines) == 1
