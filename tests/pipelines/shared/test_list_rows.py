"""Rows of lists of all kinds, types and character sets."""

import gzip
import json
import re
from decimal import Decimal
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from pipelines.shared.list_rows import list_format, read_rows

TEXTS = ["a dog", None, "ä\ncat"]


def rows(path: Path, captions: tuple[str, ...] = ("caption",), names: tuple[str, ...] = ()) -> list[tuple]:
    found = read_rows(path, "mine", "url", captions, names)
    return [(row.place, row.problem if row.values is None else list(row.values.values())) for row in found]


def parquet(folder: Path, captions: pyarrow.Array, urls: pyarrow.Array | None = None) -> Path:
    urls = pyarrow.array([f"u{number}" for number in range(len(captions))]) if urls is None else urls
    table = pyarrow.table({"url": urls, "unused": [{"x": 1}] * len(captions), "caption": captions})
    pyarrow.parquet.write_table(table, folder / "list.parquet")
    return folder / "list.parquet"


@pytest.mark.parametrize(
    "kind",
    [
        pyarrow.string(),
        pyarrow.large_string(),
        pyarrow.string_view(),
        pyarrow.dictionary(pyarrow.int32(), pyarrow.string()),
        pyarrow.binary(),
        pyarrow.large_binary(),
    ],
)
def test_types_of_text(tmp_path: Path, kind: pyarrow.DataType) -> None:
    array = pyarrow.array(TEXTS, pyarrow.string())
    array = array.dictionary_encode() if pyarrow.types.is_dictionary(kind) else array.cast(kind)
    found = [values[1] for _, values in rows(parquet(tmp_path, array, urls=pyarrow.array(["u"] * 3).cast(kind)))]
    assert [each.decode() if isinstance(each, bytes) else each for each in found] == TEXTS


@pytest.mark.parametrize("kind", [pyarrow.list_, pyarrow.large_list, lambda of: pyarrow.list_(of, 2)])
def test_types_of_lists(tmp_path: Path, kind: object) -> None:
    captions = pyarrow.array([["a", None], ["b", "c"]], kind(pyarrow.string()))
    assert [values[1] for _, values in rows(parquet(tmp_path, captions))] == [["a", None], ["b", "c"]]


@pytest.mark.parametrize(
    "array",
    [
        pyarrow.array([1, None], pyarrow.int64()),
        pyarrow.array([0.5, float("nan")], pyarrow.float32()),
        pyarrow.array([Decimal("1.5"), None]),
        pyarrow.nulls(2),
    ],
)
def test_types_of_numbers(tmp_path: Path, array: pyarrow.Array) -> None:
    assert len(rows(parquet(tmp_path, array))) == 2


@pytest.mark.parametrize(
    "array",
    [
        pyarrow.array([{"en": "a"}]),
        pyarrow.array([[{"text": "a"}]]),
        pyarrow.array([[["a"]]]),
        pyarrow.array([[("en", "a")]], pyarrow.map_(pyarrow.string(), pyarrow.string())),
        pyarrow.array([True]),
        pyarrow.array([0], pyarrow.timestamp("ns")),
    ],
)
def test_columns_of_what_is_no_text_are_refused(tmp_path: Path, array: pyarrow.Array) -> None:
    with pytest.raises(ValueError, match=r"mine: column 'caption' is of type .*, allowed are text, bytes, numbers"):
        rows(parquet(tmp_path, array))


def invalid(kind: pyarrow.DataType, content: list) -> pyarrow.Array:
    """A column of text whose bytes are not: as programs that do not check write it."""
    return pyarrow.array(content, kind).view(pyarrow.string())


def test_text_in_parquet_that_is_not_utf8_costs_its_row(tmp_path: Path) -> None:
    bad = invalid(pyarrow.binary(), [b"a", b"caf\xe9", None])
    assert [values[1] for _, values in rows(parquet(tmp_path, bad))] == ["a", b"caf\xe9", None]
    lists = pyarrow.ListArray.from_arrays(pyarrow.array([0, 2, 3, 3], pyarrow.int32()), bad)
    assert [values[1] for _, values in rows(parquet(tmp_path, lists))] == [["a", b"caf\xe9"], [None], []]
    assert [values[1] for _, values in rows(parquet(tmp_path, bad.dictionary_encode()))] == ["a", b"caf\xe9", None]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("packed", [False, True])
def test_character_sets_and_line_ends(tmp_path: Path, encoding: str, end: str, packed: bool) -> None:
    contents = {
        "a.csv": ["url,caption", 'u,"ä, 狐\0"'],
        "a.tsv": ["url\tcaption", "u\tä, 狐\0"],
        "a.jsonl": ["", json.dumps({"url": "u", "caption": "ä, 狐\0"}, ensure_ascii=False)],
    }
    for name, lines in contents.items():
        content = (end.join(lines) + end).encode(encoding)
        path = tmp_path / (name + ".gz" if packed else name)
        path.write_bytes(gzip.compress(content) if packed else content)
        assert rows(path) == [("line 2", ["u", "ä, 狐\0"])], name


def test_bytes_that_are_not_utf8_cost_the_rows_that_need_them(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"url,caption,by\nu1,a,Ren\xe9\nu2,caf\xe9,x\nu3,b,x\n")
    found = rows(path)
    assert [found[0], found[2]] == [("line 2", ["u1", "a"]), ("line 4", ["u3", "b"])]
    assert found[1][0] == "line 3" and "UnicodeDecodeError" in found[1][1]
    (tmp_path / "a.txt").write_bytes(b"http://a.com/\xe9\nhttp://a.com/\n")
    assert [isinstance(each, str) for _, each in rows(tmp_path / "a.txt", ())] == [True, False]


def test_json_lines_that_are_no_rows(tmp_path: Path) -> None:
    lines = [
        b'{"url": "u", "caption": NaN, "x": {}}',
        b"{",
        b"[1]",
        b'"u"',
        b"null",
        b'{"link": 1}',
        b'{"url": "\xe9"}',
    ]
    lines += [b"[" * 100_000, b'{"url": ' + b"9" * 5000 + b"}", b'{"url": null}', b'{"url": "\\ud800"}']
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines))
    found = rows(tmp_path / "a.jsonl")
    assert [place for place, _ in found] == [f"line {number}" for number in range(1, 12)]
    assert [isinstance(each, str) for _, each in found] == [False, *[True] * 8, False, False]
    assert all(len(each) < 300 for _, each in found if isinstance(each, str))


def test_columns_are_named_where_there_is_no_header(tmp_path: Path) -> None:
    (tmp_path / "cc.tsv").write_text("a boat\thttp://a.com/1.jpg\na cat\thttp://a.com/2.jpg\n")
    assert rows(tmp_path / "cc.tsv", names=("caption", "url"))[0] == ("line 1", ["http://a.com/1.jpg", "a boat"])
    with pytest.raises(ValueError, match="columns names those of a list without a header"):
        rows(tmp_path / "cc.tsv")


def test_a_carriage_return_alone_cuts_no_cell(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_bytes(b"caption\turl\na cat\ron a mat\thttp://a\n")
    assert [row.values for row in read_rows(path, "a.tsv", "url", ["caption"])] == [
        {"url": "http://a", "caption": "a cat\ron a mat"}
    ]


@pytest.mark.parametrize(
    ("name", "header"), [("a.csv", "url;caption"), ("a.csv", "url\tcaption"), ("a.tsv", "url,caption")]
)
def test_a_header_of_another_delimiter_is_named(tmp_path: Path, name: str, header: str) -> None:
    (tmp_path / name).write_text(f"{header}\nhttp://a\n")
    with pytest.raises(ValueError, match="these seem to be by " + re.escape(repr(header[3]))):
        list(read_rows(tmp_path / name, name, "url", ["caption"]))


def test_a_column_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("url,caption,caption\n")
    with pytest.raises(ValueError, match="mine has several columns named caption"):
        rows(tmp_path / "a.csv")


def test_formats_by_name() -> None:
    assert [list_format(Path(name)) for name in ("a.CSV", "a.b.tsv.GZ", "a.parquet", "a.gz")] == [
        ".csv",
        ".tsv",
        ".parquet",
        "",
    ]
