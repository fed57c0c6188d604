"""Against Python's `csv`: what its writer writes comes back, and what does not fit costs its own row alone."""

import csv
import io

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipelines.shared import delimited
from pipelines.shared.delimited import DelimitedRows, Lines

CELLS = st.text(st.sampled_from("ab\"',;\t\n\r \0é\u2028\x85|"), max_size=8) | st.text(max_size=8)


def read(content: str, delimiter: str = ",", address: int = 0, names: tuple[str, ...] = ()) -> list[tuple]:
    reader = DelimitedRows(io.StringIO(content, newline=""), delimiter, names)
    return [(row.number, row.problem if row.cells is None else list(row.cells)) for row in reader.rows(address)]


def problems(rows: list[tuple]) -> list[int]:
    return [number for number, found in rows if isinstance(found, str)]


@settings(max_examples=300)
@given(
    table=st.integers(1, 3).flatmap(
        lambda width: st.lists(st.lists(CELLS, min_size=width, max_size=width), min_size=2)
    ),
    delimiter=st.sampled_from(",\t"),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    end=st.sampled_from(["\r\n", "\n", "\r"]),
)
@example([["url", "caption"], ["u", 'a "b"\nc, d\te']], "\t", csv.QUOTE_MINIMAL, "\n")
def test_what_csvs_writer_writes_comes_back(table: list[list[str]], delimiter: str, quoting: int, end: str) -> None:
    handle = io.StringIO(newline="")
    # the writer leaves a carriage return unquoted where a line ends otherwise, so that nobody can tell it from an end
    quoting = csv.QUOTE_ALL if end != "\r\n" else quoting
    csv.writer(handle, delimiter=delimiter, quoting=quoting, lineterminator=end).writerows(table)
    reader = DelimitedRows(io.StringIO(handle.getvalue(), newline=""), delimiter)
    assert [list(reader.names), *(row.cells for row in reader.rows(0))] == table


@settings(max_examples=300)
@given(st.text(st.sampled_from('a,"\n\r\t'), max_size=60), st.sampled_from(",\t"))
def test_anything_is_rows_or_problems_and_no_line_is_read_twice(content: str, delimiter: str) -> None:
    rows = read(content, delimiter, names=("url", "caption"))
    numbers = [number for number, _ in rows]
    assert numbers == sorted(set(numbers))
    assert all(isinstance(found, str) or len(found) == 2 for _, found in rows)
    if '"' not in content:
        theirs = list(csv.reader(io.StringIO(content, newline=""), delimiter=delimiter))
        assert [found for _, found in rows if not isinstance(found, str)] == [row for row in theirs if len(row) == 2]


@pytest.mark.parametrize(
    "row",
    [
        "http://a.com/1.jpg,a cat, a dog",
        "http://a.com/1.jpg",
        "http://a.com/1.jpg,",
        'http://a.com/1.jpg,"a cat" and a dog',
        'http://a.com/1.jpg,"a cat',
        '"http://a.com/1.jpg"x,a cat',
        'http://a.com/1.jpg,"a cat"" ',
    ],
)
def test_a_row_that_does_not_fit_costs_itself_alone(row: str) -> None:
    good = ["http://a.com/0.jpg", "x"]
    rows = read(f'url,caption\n{",".join(good)}\n{row}\n{",".join(good)}\n"http://a.com/2.jpg","a, b"\n')
    if row.endswith("jpg,"):
        assert rows[1] == (3, ["http://a.com/1.jpg", ""])
    else:
        assert problems(rows) == [3]
    assert [rows[0], *rows[2:]] == [(2, good), (4, good), (5, ["http://a.com/2.jpg", "a, b"])]


@pytest.mark.parametrize(
    "cell", ['"Sunset" over the bay', '"Sunset over the bay', '"', '""" x', 'a 12" ruler', '"a" "b"']
)
def test_a_quote_in_tsv_is_a_quote(cell: str) -> None:
    rows = read(f"url\tcaption\nhttp://a.com/1.jpg\t{cell}\nhttp://a.com/2.jpg\ta cat\n", "\t")
    assert rows == [(2, ["http://a.com/1.jpg", cell]), (3, ["http://a.com/2.jpg", "a cat"])]


def test_quoted_tsv_with_line_breaks_is_read() -> None:
    content = 'caption\turl\n"first\nsecond, ""third"""\thttp://a.com/1.jpg\n"a\ttab"\thttp://a.com/2.jpg\n'
    assert read(content, "\t", address=1) == [
        (2, ['first\nsecond, "third"', "http://a.com/1.jpg"]),
        (4, ["a\ttab", "http://a.com/2.jpg"]),
    ]


@pytest.mark.parametrize("delimiter", [",", "\t"])
@pytest.mark.parametrize("address", [0, 1])
def test_rows_up_to_a_later_quote_are_not_one_caption(delimiter: str, address: int) -> None:
    """An unclosed quote, and one further down that would close it."""
    captions = ['"Sunset', "a cat", 'size 5"', "a dog", "a bird"]
    pairs = [[f"http://a.com/{number}.jpg", text] for number, text in enumerate(captions)]
    lines = [delimiter.join(pair if address == 0 else pair[::-1]) for pair in pairs]
    rows = read("\n".join(["a" + delimiter + "b", *lines]), delimiter, address)
    found = {cells[address]: cells[1 - address] for _, cells in rows if not isinstance(cells, str)}
    expected = dict(pairs if delimiter == "\t" else pairs[3:])
    assert found == expected and problems(rows) == ([] if delimiter == "\t" else [2])
    if delimiter == ",":
        assert rows[0][1] == "a quoted cell that holds further rows, up to line 4"


def test_a_caption_with_an_address_of_its_own_is_one_caption() -> None:
    table = [["url", "caption"], ["http://a.com/1.jpg", "see\nhttp://b.com/ or\nhttp://c.com/"]]
    handle = io.StringIO(newline="")
    csv.writer(handle).writerows(table)
    assert read(handle.getvalue()) == [(2, table[1])]


def test_one_huge_cell_is_a_cell() -> None:
    huge = "x" * 1_000_000
    assert read(f'url,notes\nhttp://a.com/1.jpg,{huge}\nb,"{huge}"\n') == [
        (2, ["http://a.com/1.jpg", huge]),
        (3, ["b", huge]),
    ]


def test_a_row_longer_than_the_limit_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimited, "MAX_ROW_CHARS", 20)
    quoted = '"' + "x\n" * 40
    rows = read(f"url,caption\na,b\n{'c' * 61},d\ne,f\ng,{quoted}h,i\n")
    assert rows[:3] == [(2, ["a", "b"]), (3, "more than 20 characters"), (4, ["e", "f"])]
    assert problems(rows)[:2] == [3, 5] and rows[-1] == (45, ["h", "i"])


def test_headers() -> None:
    assert DelimitedRows(io.StringIO('\n\n"a\nb",c\n'), ",").names == ("a\nb", "c")
    assert DelimitedRows(io.StringIO(""), ",").names == ()
    assert read("x,y\n", names=("url", "caption")) == [(1, ["x", "y"])]
    with pytest.raises(csv.Error, match="not closed"):
        DelimitedRows(io.StringIO('"a,b\n'), ",")


def test_time_is_in_proportion_whatever_the_quotes() -> None:
    """No line is read over and over in search of a quote."""
    import time

    start = time.process_time()
    for row in ('a,"b', '"', '""', '"""', 'a\t"b""', '"a"b', 'a,b"'):
        for delimiter in ",\t":
            read((row + "\n") * 3000, delimiter, names=("url", "caption"))
    assert time.process_time() - start < 5


def test_lines_that_are_given_back_come_again() -> None:
    lines = Lines(io.StringIO("a\nb\rc\r\nd", newline=""))
    first, second = lines.take(), lines.take()
    lines.give_back([first, second])
    assert list(lines) == [(1, "a\n"), (2, "b\r"), (3, "c\r\n"), (4, "d")]
