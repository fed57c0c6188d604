"""Lists in all formats, whole and damaged."""

import asyncio
import gzip
import json
import tracemalloc
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pyarrow
import pyarrow.parquet
import pytest
import yaml

from pipelines import crawl
from pipelines.refresh import refresh
from pipelines.shared.lock import read_lock
from pipelines.shared.manifests import read_manifest
from pipelines.shared.params import load_params
from pipelines.shared.plan import read_chunk, write_links, write_plan
from pipelines.shared.records import Link
from pipelines.shared.stage import StageRun
from pipelines.shared.storage import RemoteFolder
from pipelines.sources.url_list import Config, Source
from tests.pipelines.crawl_site import still

ROWS = [
    {"url": "http://a.com/1.jpg", "caption": "one, two", "alt": "eins"},
    {"url": "http://a.com/2.jpg?x=1,2", "caption": 'a "quoted" one', "alt": ""},
    {"url": "http://a.com/3.jpg", "caption": "line\nbreak", "alt": "line break"},
    {"url": "", "caption": "nowhere", "alt": ""},
    {"url": "http://a.com/4.jpg", "caption": "", "alt": "vier ü"},
]


def delimited(mark: str) -> str:
    def cell(text: str) -> str:
        return '"' + text.replace('"', '""') + '"'

    return "\n".join([mark.join(ROWS[0])] + [mark.join(map(cell, row.values())) for row in ROWS])


WRITERS: dict[str, Callable[[Path], object]] = {
    "list.csv": lambda path: path.write_text(delimited(",")),
    "list.tsv": lambda path: path.write_text(delimited("\t")),
    "list.jsonl": lambda path: path.write_text("\n".join(map(json.dumps, ROWS)) + "\n\n"),
    "list.parquet": lambda path: pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), path),
    "list.csv.gz": lambda path: path.write_bytes(gzip.compress(delimited(",").encode())),
    "list.jsonl.gz": lambda path: path.write_bytes(gzip.compress("\n".join(map(json.dumps, ROWS)).encode())),
}


def links(path: Path, **settings: object) -> list[Link]:
    async def run() -> list[Link]:
        return [link async for link in Source(Config(path=str(path), **settings)).links(None)]

    return asyncio.run(run())


@pytest.mark.parametrize("name", WRITERS)
def test_formats(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path / name)
    found = links(tmp_path / name, caption_columns=("caption", "alt"), origin="human")
    assert [link.url for link in found] == [row["url"] for row in ROWS if row["url"]]
    assert [[(each.text, each.place) for each in link.captions] for link in found] == [
        [("one, two", "column:caption"), ("eins", "column:alt")],
        [('a "quoted" one', "column:caption")],
        [("line break", "column:caption")],
        [("vier ü", "column:alt")],
    ]
    assert {link.page_url for link in found} == {name}
    assert {each.origin for link in found for each in link.captions} == {"human"}


def test_text_is_lines_not_csv(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text('http://a.com/1,2.jpg\r\n\n  http://a.com/"3".jpg  \n')
    assert links(path) == [
        Link(url="http://a.com/1,2.jpg", page_url="list.txt"),
        Link(url='http://a.com/"3".jpg', page_url="list.txt"),
    ]


def test_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes(b"\xef\xbb\xbfurl,caption\nhttp://a.com/1.jpg,x\n")
    assert len(links(path)) == 1


def test_values_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "list.jsonl"
    path.write_text('{"url": "http://a.com/1.jpg", "caption": 7}\n{"url": null, "caption": "x"}\n{"url": "b"}\n')
    assert [(link.url, [each.text for each in link.captions]) for link in links(path)] == [
        ("http://a.com/1.jpg", ["7"]),
        ("b", []),
    ]


def found(path: Path, **settings: object) -> list[tuple[str, list[str]]]:
    return [(link.url, [each.text for each in link.captions]) for link in links(path, **settings)]


def test_cells_of_parquet_that_are_no_text(tmp_path: Path) -> None:
    captions = [["a dog runs", None, "", "a brown dog", "a dog runs"], None, []]
    table = pyarrow.table(
        {"url": [b"http://a.com/1", b"http://a.com/2", None], "caption": captions, "year": [1.0, None, 2.0]}
    )
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    assert found(tmp_path / "a.parquet", caption_columns=("year", "caption")) == [
        ("http://a.com/1", ["1", "a dog runs", "a brown dog"]),
        ("http://a.com/2", []),
    ]


def test_rows_that_do_not_fit_are_counted_with_their_lines(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    good = '{"url": "http://a.com/%d.jpg", "caption": ["a", "b"]}'
    bad = ['{"url": "http://a.com/x.jpg", "caption": {"en": "a"}}', "{", '{"url": ["a", "b"]}']
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join([good % 1, *bad, good % 2, "", '{"url": NaN}', good % 3]))
    fetcher = SimpleNamespace(page_counts=Counter())

    async def run() -> list[Link]:
        return [link async for link in Source(Config(path=str(path))).links(fetcher)]

    assert [link.url for link in asyncio.run(run())] == [f"http://a.com/{number}.jpg" for number in (1, 2, 3)]
    assert fetcher.page_counts == {"row_misfit": 3, "no_url": 1}
    assert "a.jsonl: 3 row_misfit: line 2: neither a text" in caplog.text and "; line 4: 2 addresses" in caplog.text


def test_a_list_most_of_which_does_not_fit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("url,caption\nhttp://a.com/1.jpg,a\nhttp://a.com/2.jpg,a cat, a dog\n")
    assert found(path) == [("http://a.com/1.jpg", ["a"])]
    message = r"1 of 2 rows do not fit, more than max_misfit_frac = 0.1: line 3: .*3 cells, where there are 2 columns"
    with pytest.raises(ValueError, match=message):
        found(path, max_misfit_frac=0.1)
    path.write_text("url,caption\nhttp://a.com/x.jpg?crop=1,2,a horse\n")
    with pytest.raises(ValueError, match="1 of 1 rows do not fit"):
        found(path)
    assert found(path, max_misfit_frac=1.0) == []


def test_a_list_without_a_header(tmp_path: Path) -> None:
    path = tmp_path / "cc3m.tsv"
    path.write_text('a "boat" , at sea\thttp://a.com/1.jpg\n"Sunset" over the bay\thttp://a.com/2.jpg\n')
    assert found(path, columns=("caption", "url")) == [
        ("http://a.com/1.jpg", ['a "boat" , at sea']),
        ("http://a.com/2.jpg", ['"Sunset" over the bay']),
    ]


def test_half_a_surrogate_pair_never_ends_a_plan(tmp_path: Path) -> None:
    """In a URL it is refused in its row, in a caption it goes."""
    path = tmp_path / "a.jsonl"
    path.write_text(
        '{"url": "http://a.com/\\ud800.jpg", "caption": "a \\udc00cat"}\n{"url": "\\ud83d", "caption": "\\ud83d"}\n'
    )
    asyncio.run(write_links(Source(Config(path=str(path))).links(None), "mine", tmp_path / "plan"))
    plan = write_plan(tmp_path / "plan", 10, {})
    rows = [link for name in plan.chunks for _, link in read_chunk(tmp_path / "plan", name)]
    assert sorted((link.url, [each.text for each in link.captions]) for link in rows) == [
        ("\\ud83d", []),
        ("http://a.com/\\ud800.jpg", ["a cat"]),
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"link,text\nx,y\n", "has no column url, caption; there are: link, text"),
        ("a.csv", b"", "has no column url"),
        ("a.csv", b"url,caption\n\xff\xfe,x\n", "cannot be read as .csv: UnicodeDecodeError"),
        ("a.csv", b'url,caption\n"http://a.com,x\n', "cannot be read as .csv: Error"),
        ("a.jsonl", b'{"url": \n', "cannot be read as .jsonl: JSONDecodeError"),
        ("a.jsonl", b"[1, 2]\n", "each line must be an object with 'url'"),
        ("a.jsonl", b'{"link": "x"}\n', "each line must be an object with 'url'"),
        ("a.jsonl", b"[" * 200_000, "cannot be read as .jsonl: RecursionError"),
        ("a.parquet", b"PAR1", "cannot be read as .parquet: Arrow"),
        ("a.csv.gz", b"url,caption\n", "cannot be read as .csv: BadGzipFile"),
        ("a.csv.gz", gzip.compress(b"url,caption\nx,y\n" * 99, mtime=0)[:-9], "cannot be read as .csv: EOFError"),
    ],
)
def test_damaged_lists(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        links(tmp_path / name)


def test_missing_list_and_column(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none.csv does not exist"):
        links(tmp_path / "none.csv")
    with pytest.raises(ValueError, match=r"none.parquet does not exist"):
        links(tmp_path / "none.parquet")
    WRITERS["list.parquet"](tmp_path / "list.parquet")
    with pytest.raises(ValueError, match="has no column text; there are: url, caption, alt"):
        links(tmp_path / "list.parquet", caption_columns=("text",))


def test_config() -> None:
    with pytest.raises(ValueError, match=r"path must end in one of .parquet, .csv"):
        Config(path="links.xlsx")
    with pytest.raises(ValueError, match="origin must be one of"):
        Config(path="links.csv", origin="bot")
    with pytest.raises(ValueError, match=r"max_misfit_frac must be in \[0, 1\]"):
        Config(path="links.csv", max_misfit_frac=1.5)
    with pytest.raises(ValueError, match=r"columns must be empty but for .csv and .tsv"):
        Config(path="links.parquet", columns=("url", "caption"))
    for columns in (("url",), ("url", "caption", "url")):
        with pytest.raises(ValueError, match="columns must name each column once, url, caption among them"):
            Config(path="links.tsv", columns=columns)
    with pytest.raises(ValueError, match="caption_columns must not name the url_column"):
        Config(path="links.tsv", url_column="caption")
    assert Source(Config(path="links.csv.gz")).files() == ("links.csv.gz",)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_lists_are_streamed(tmp_path: Path, kind: str) -> None:
    rows = 20_000
    path = tmp_path / f"list.{kind}"
    if kind == "csv":
        path.write_text("url,caption\n" + "".join(f"http://a.com/{n}.jpg,caption {n}\n" for n in range(rows)))
    else:
        columns = {"url": [f"http://a.com/{n}.jpg" for n in range(rows)], "caption": ["c"] * rows}
        pyarrow.parquet.write_table(pyarrow.table(columns), path)

    async def count() -> int:
        total = 0
        async for _ in Source(Config(path=str(path))).links(None):
            total += 1
        return total

    tracemalloc.start()
    assert asyncio.run(count()) == rows
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 4 << 20, "all rows at once would take 7 MB"


def test_a_list_on_an_object_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, s3: str) -> None:
    """Its links are fetched like all others: one into the store is refused."""
    monkeypatch.chdir(tmp_path)
    Path("site").mkdir()
    Path("site/0.png").write_bytes(still(0))
    rows = ["url,caption", "http://localhost/0.png,a picture", f"{s3}/lists/0.png,a picture in the bucket", "x,y,z"]
    Path("links.csv").write_text("\n".join(rows))
    for name in ("links.csv", "site/0.png"):
        RemoteFolder(f"{s3}/lists").upload(Path(name), Path(name).name)
    made = []
    for path in ("links.csv", f"{s3}/lists/links.csv"):
        source = {"module": "url_list", "path": path, "serve": "site"}
        Path("params.yaml").write_text(yaml.safe_dump({"sources": {"mine": source}}))
        refresh()
        options = ("--direct_running_mode=in_memory", "--direct_num_workers=1")
        crawl.run(StageRun(stage="crawl", key="mine", params=load_params(), beam_options=options))
        made.append(read_manifest(Path("data/crawl/mine")))
    assert (made[0].shards, made[0].layers) == (made[1].shards, made[1].layers)
    assert made[1].counts.rejected == {"url_refused": 1} and made[1].counts.kept == 1
    assert made[1].details["pages"] == {"row_misfit": 1}
    assert set(read_lock()["mine"]["local"]) == {"site", f"{s3}/lists/links.csv"}
