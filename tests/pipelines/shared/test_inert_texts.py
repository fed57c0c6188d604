"""Hostile texts in CSV, in Markdown tables and on a terminal."""

import csv
import io

import markdown_it
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.shared.inert_texts import csv_cell, markdown_cell, visible

FORMULAS = (
    "=1+1",
    "+1+1",
    "-1+1",
    "@SUM(A1)",
    "\uff1d1",
    "\uff0b1",
    "\uff0d1",
    "\uff201",
    "\u22121",
    "\ufe661",
    "\u207c1",
)
LEADERS = ("", " ", "\t", "\r", "\n", "\xa0", "\u3000", "\u200b", "\ufeff", "\u202e", "\x00", " \t ", "\u2028")
HOSTILE = (
    "a|b",
    "`code`",
    "<script>alert(1)</script>",
    "<b onmouseover=x>",
    "[text](javascript:alert(1))",
    "![x](http://a.com/x.png)",
    "http://a.com",
    "www.a.com",
    "*bold* _slanted_ ~~gone~~",
    "line\nbreak\r\n| a | b |",
    "\x1b[31mred\x1b]0;title\x07",
    "\u202eright to left",
    "back\\slash|",
    "&lt;b&gt;",
    "\u2028",
)


@pytest.mark.parametrize("leader", LEADERS)
@pytest.mark.parametrize("formula", FORMULAS)
def test_no_cell_starts_a_formula(leader: str, formula: str) -> None:
    assert csv_cell(leader + formula) == f"'{leader}{formula}"


@pytest.mark.parametrize("text", ["\tx", "\rx", "\nx", "\n"])
def test_no_cell_starts_with_a_tab_or_a_line_end(text: str) -> None:
    assert csv_cell(text) == f"'{text}"


@pytest.mark.parametrize("value", [-1.5, 0, -3, None, True, "", "  ", "clip", "a=1", "1.5", "naïve", "日本"])
def test_other_cells_stay_as_they_are(value: object) -> None:
    assert csv_cell(value) == value and type(csv_cell(value)) is type(value)


@given(st.text())
def test_a_cell_comes_back_from_csv_with_an_apostrophe_at_most(text: str) -> None:
    buffer = io.StringIO()
    csv.writer(buffer).writerow([csv_cell(text), "next"])
    buffer.seek(0)
    (row,) = csv.reader(buffer) if "\x00" not in text else [[csv_cell(text), "next"]]
    assert row[1] == "next" and row[0].removeprefix("'") == text.removeprefix("'")


@pytest.mark.parametrize("text", HOSTILE)
def test_a_markdown_cell_is_one_cell_of_plain_text(text: str) -> None:
    table = f"| a | b |\n|---|---|\n| {markdown_cell(text)} | next |\n"
    tokens = markdown_it.MarkdownIt("gfm-like", {"linkify": False}).parse(table)
    cells = [token for token in tokens if token.type == "inline"]
    assert len(cells) == 4 and cells[3].content == "next"
    kinds = {child.type for child in cells[2].children or []}
    assert kinds <= {"text", "text_special"}, kinds
    shown = "".join(child.content for child in cells[2].children or [])
    assert shown == visible(" ".join(text.split())), "a reader sees the text as it is"


def test_addresses_are_no_links() -> None:
    assert "://" not in markdown_cell("http://a.com") and "www." not in markdown_cell("www.a.com WWW.B.COM").lower()


def test_names_of_scores_stay_readable() -> None:
    name = "text_to_image_recall@10"
    assert markdown_cell(name) == name and markdown_cell("fd_efficientnet-lite0_p16") == "fd_efficientnet-lite0_p16"


def test_control_characters_become_visible() -> None:
    assert visible("a\u202eb\x1b[31mc\n") == "a\\u202eb\\u001b[31mc\\u000a"
    assert visible("naïve 日本 🐢") == "naïve 日本 🐢"
