"""Tables and escaping of the page; the whole page is tested with the stage."""

from pipelines.shared.reporting.leaderboard import leaderboard_rows
from pipelines.shared.reporting.page import tables, visible
from tests.pipelines.shared.reporting.test_leaderboard import document


def test_tables_have_the_wanted_columns_and_the_best() -> None:
    rows = leaderboard_rows({"a": document("a", 1.0), "b": document("b", 2.0)}, ["recall", "fd"])
    made = tables(rows, ["recall", "fd"], {"distance": ["fd"], "retrieval": ["recall"], "other": ["x"]})
    assert [table["name"] for table in made] == ["retrieval", "distance"], "in the order of the columns"
    assert made[1]["best"] == {"fd": "a"}, "the smaller distance is the better one"
    assert made[0]["best"] == {"recall": "b"}
    assert [line["row"]["model"] for line in made[1]["lines"]] == ["a", "b"]


def test_control_characters_become_visible() -> None:
    assert visible("a\u202eb\x1b[31mc\n") == "a\\u202eb\\u001b[31mc\\u000a"
    assert visible("naïve 日本 🐢") == "naïve 日本 🐢"
