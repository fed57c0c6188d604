"""The page's tables."""

from pipelines.shared.reporting.leaderboard import leaderboard_rows
from pipelines.shared.reporting.tables import Table, tables
from tests.pipelines.shared.reporting.test_leaderboard import TRAINING, boards_of
from tests.pipelines.shared.reporting.world import FD, LITE0, MEDIAN, RECALL, scored


def made(columns: tuple[str, ...] = (FD, RECALL)) -> list[Table]:
    models = [
        scored("b", recall=0.8),
        scored("a", recall=0.2),
        scored("other", recall=0.9, about={"samples_sha256": "d" * 64}),
        scored("noise", about={"model": "", "reference": "shuffled"}),
    ]
    boards = boards_of(*models)
    trainings = dict.fromkeys(("a", "b", "other", "first"), TRAINING)
    return tables(boards, leaderboard_rows(boards, columns, trainings), columns)


def test_a_table_for_each_metric_and_protocol() -> None:
    found = made()
    assert [table.metric for table in found] == ["distance", "distance", "retrieval", "retrieval"], "order of columns"
    assert [line.about["evaluation"] for line in found[2].models] == ["a", "b"]
    assert [line.about["evaluation"] for line in found[2].references] == ["noise"]
    assert [line.about["evaluation"] for line in found[3].models] == ["other"]
    assert [table.number for table in found] == [1, 2, 3, 4]


def test_what_is_not_comparable_says_why() -> None:
    first, second = made()[2:]
    assert first.differs == ()
    assert second.differs == (("samples_sha256", "c" * 24 + "…", "d" * 24 + "…"),)


def test_only_wanted_columns() -> None:
    (first, second) = made((MEDIAN,))
    assert [*first.columns] == [*second.columns] == [MEDIAN]
    assert made(()) == []


def test_footnotes_are_numbered_once() -> None:
    boards = boards_of(scored("a"), scored("b"), scored("c"))
    started = type(TRAINING)(
        **{**{name: getattr(TRAINING, name) for name in TRAINING.__slots__}, "packaged": {"f": LITE0}}
    )
    rows = leaderboard_rows(boards, (), {"a": started, "b": TRAINING, "c": started, "first": TRAINING})
    (table,) = tables(boards, rows, (FD,))
    assert [line.note for line in table.models] == [1, 0, 1]
    assert len(table.notes) == 1
