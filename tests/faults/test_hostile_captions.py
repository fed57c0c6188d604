"""Over two hundred hostile captions through all that captions go through: cleaned, stored, and shown."""

import asyncio
import itertools
import json
import re
import shutil
import unicodedata
from html.parser import HTMLParser
from pathlib import Path

import pyarrow
import pytest

from pipelines.shared.inert_texts import visible
from pipelines.shared.layers import CAPTION_TYPE, layer_schema, read_layer, write_layer
from pipelines.shared.plan import read_chunk, write_links, write_plan
from pipelines.shared.records import Caption, Link, Sample, sample_key
from pipelines.shared.reporting import page
from pipelines.shared.shards import describe, read_shard, write_shard
from pipelines.shared.texts import MAX_CAPTION_CHARS, clean_text

MARKUP = [
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)',
    "' onfocus='alert(1)' autofocus='",
    "<svg/onload=alert(1)>",
    "<!--",
    "--><b>",
    "<!--<script>",
    "]]>",
    "<![CDATA[",
    "<?xml version='1.0'?>",
    "</title><base href=//a.com>",
    "</style><link rel=stylesheet href=//a.com>",
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "<a href=javascript:alert(1)>x</a>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
    "&lt;b&gt;",
    "&#x3c;b&#x3e;",
    "<\x00script>",
    "\uff1cscript\uff1e",
    "{{ 7 * 7 }}",
    "{% raw %}",
    "${7*7}",
    "#{7*7}",
    "`${alert(1)}`",
]
FORMULAS = [
    "=1+1",
    "+1",
    "-1",
    "@SUM(1)",
    "\t=1",
    "\r=1",
    "\n=1",
    " =1",
    "\uff1d1+1",
    '=HYPERLINK("//a.com")',
    "|a",
    "'=1",
]
CONTROLS = [
    "\x00",
    "\x07",
    "\x08",
    "\x1b[2J",
    "\x1b]0;x\x07",
    "\x1b[31m",
    "\x9b31m",
    "\x7f",
    "\x85",
    "\r",
    "\n",
    "\u2028",
]
DIRECTIONS = [*"\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff"]
HALVES = ["\ud800", "\udfff", "\ud83d\ud83d", "\udc00\ud800"]
OTHERS = [
    "%s%n%x",
    "{0.__class__}",
    "$(touch x)",
    "; rm -r x",
    "../../x",
    "C:\\x",
    "key.png",
    "a\u0301" * 50,
    "a" + "\u0301" * 5_000,
    "x" * 50_000,
    "\U000e0041\U000e0042",
    "\ufffe\uffff",
    '{"text": 1}',
    '"},{"',
    "\\u0000",
    "NaN",
    "1e999",
]
OURS = {"css", "js", "croissant"}  # our own files, and what `data_block` has written
PARTS = [*MARKUP, *FORMULAS, *CONTROLS, *DIRECTIONS, *HALVES, *OTHERS]
CORPUS = [
    f"{before}{part}{after}" for part, (before, after) in itertools.product(PARTS, [("", ""), ("a ", " b"), ("é", "")])
]
CLEAN = sorted({clean_text(text) for text in CORPUS} - {""})


def captions() -> tuple[Caption, ...]:
    return tuple(Caption(text=text, origin="web", place="alt") for text in CLEAN)


def test_the_corpus_is_as_large_as_promised() -> None:
    assert len(CORPUS) >= 200 and len(CLEAN) >= 150


@pytest.mark.parametrize("part", PARTS, ids=ascii)
def test_cleaned(part: str) -> None:
    for text in (part, f"a {part} b", f"é{part}"):
        clean = clean_text(text)
        assert len(clean) <= MAX_CAPTION_CHARS and unicodedata.is_normalized("NFC", clean)
        assert len(clean.splitlines()) <= 1 and not {unicodedata.category(each) for each in clean} & {
            "Cc",
            "Cs",
            "Zl",
            "Zp",
        }
        assert not set(clean) & set(DIRECTIONS)
        clean.encode()


def test_stored_in_a_shard(tmp_path: Path) -> None:
    sample = Sample(key=sample_key("web", "x"), extension="png", media=b"x", captions=captions())
    info = describe(tmp_path / "a.tar", tmp_path, write_shard(tmp_path / "a.tar", [sample]))
    assert list(read_shard(tmp_path, info)) == [sample]


def test_stored_in_a_layer(tmp_path: Path) -> None:
    schema = layer_schema({"captions": pyarrow.list_(CAPTION_TYPE)})
    rows = [{"key": f"{index:020x}", "captions": [each.as_dict()]} for index, each in enumerate(captions())]
    info = describe(tmp_path / "a.parquet", tmp_path, write_layer(tmp_path / "a.parquet", rows, schema))
    found = [row["captions"][0]["text"] for row in read_layer(tmp_path, info).to_pylist()]
    assert found == CLEAN


def test_stored_in_a_plan(tmp_path: Path) -> None:
    async def links():
        for index, caption in enumerate(captions()):
            yield Link(url=f"http://a.com/{index}", captions=(caption,))

    asyncio.run(write_links(links(), "web", tmp_path))
    (name,) = write_plan(tmp_path, 10_000, {}).chunks
    assert sorted(link.captions[0].text for _, link in read_chunk(tmp_path, name)) == CLEAN


class Tags(HTMLParser):
    """Tags and attributes of a page, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, list]] = []
        self.others: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append((tag, attrs))

    def handle_comment(self, data: str) -> None:
        self.others.append(data)

    handle_decl = handle_pi = unknown_decl = handle_comment


def test_shown_on_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the settings with which all pages are written: as text and in an attribute, cleaned or as it came."""
    for name in ("page.css", "page.js"):
        shutil.copy(page.HERE / name, tmp_path)
    (tmp_path / "one.html").write_text(
        '{% for text in texts %}<p title="{{ text | visible }}">{{ text | visible }}</p>{% endfor %}'
    )
    texts = [*CORPUS, *CLEAN]
    monkeypatch.setattr(page, "HERE", tmp_path)
    found = Tags(page.render("one.html", {"texts": texts}))
    assert found.tags == [("p", [("title", page.visible(text))]) for text in texts] and not found.others


@pytest.mark.parametrize("path", sorted(page.HERE.glob("*.html")), ids=lambda path: path.name)
def test_no_template_turns_escaping_off_or_leaves_an_attribute_unquoted(path: Path) -> None:
    text = path.read_text()
    assert set(re.findall(r"(\w+)\s*\|\s*safe\b", text)) <= OURS and "autoescape" not in text
    assert not re.search(r"<\w[^>]*=\s*\{\{", text)


def test_shown_as_data_and_on_a_terminal() -> None:
    for text in CORPUS:
        block = page.data_block([text])
        assert block.isascii() and block.isprintable() and not set("<>&") & set(block) and json.loads(block) == [text]
        assert visible(text).isprintable()
