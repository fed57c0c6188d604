"""Captions that try to be something else, in every place that a caption comes to."""

import json
import unicodedata
from pathlib import Path

import pyarrow
import pytest
from markupsafe import escape

from pipelines.annotators import AnnotatorInput, caption_quality, caption_stats
from pipelines.shared.layers import CAPTION_TYPE, layer_schema, read_layer, write_layer
from pipelines.shared.records import Caption, Sample
from pipelines.shared.reporting.page import data_block, visible
from pipelines.shared.shards import describe, read_shard, write_shard
from pipelines.shared.splits import normalise_caption
from pipelines.shared.texts import MAX_CAPTION_CHARS, clean_text
from pipelines.shared.words import words_of
from tests.pipelines.builders import drawing

PAYLOADS = (
    *(
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        '"><svg onload=alert(1)>',
        "</textarea>",
        "<!--",
        "]]>",
    ),
    *("{{7*7}}", "{% raw %}", "${jndi:ldap://a}", "javascript:alert(1)", "&lt;b&gt;", "&#0;"),
    *("=1+1", "+1+1", "-1+1", "@SUM(1)", "\t=1+1", "\r=cmd|' /C calc'!A0", "\uff1d1+1"),
    *("\x1b[31mred", "\x1b]0;title\x07", "\x9b31m", "\x08\x08\x08", "\x7f", "\x00", "a\x00b"),
    *("\u202etxt.exe", "\u2066\u2067\u2068\u2069", "\u200e", "\u200f", "\u061c", "\ufeff", "\u2028", "\u2029", "\x85"),
    *("\ud800", "\udc00", "\ud83d", "\udce9", "\ufffe", "\uffff", "\U0010ffff", "\ufffd"),
    *(
        "a" * 2_000_000,
        "\u0301" * 100_000,
        "\u200b" * 100_000,
        " " * 1_000_000,
        "\U0001f469\u200d" * 5000,
        "\ufdfa" * 3000,
    ),
    *(
        "[SEP]",
        "<|endoftext|>",
        "<end_of_text>",
        "../../etc/passwd",
        "%s%n%d",
        "; rm -rf /",
        "`id`",
        "$(id)",
        "' OR 1=1 --",
    ),
    *(
        "\u115f\u3164\uffa0",
        "\u2800",
        "\U000e0041\U000e0042",
        "\ufe0f",
        "\u0915\u093e",
        "\u0e01\u0e33",
        "\u05d1\u05bc",
        "\u0130",
    ),
)
CAPTIONS = [
    text for payload in PAYLOADS for text in (payload, f"a cat {payload} sat", f"{payload}\n{payload}", f"{payload}cat")
]


@pytest.fixture(scope="module")
def clean() -> list[str]:
    return [clean_text(text) for text in CAPTIONS]


def test_they_are_text_of_one_line_within_the_limit(clean: list[str]) -> None:
    assert len(clean) > 200
    for text in clean:
        text.encode()
        assert len(text) <= MAX_CAPTION_CHARS and text == clean_text(text) and unicodedata.is_normalized("NFC", text)
        assert not any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in text)
        assert not set(text) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def test_they_come_back_from_shards_and_layers_as_they_were(clean: list[str], tmp_path: Path) -> None:
    captions = tuple(Caption(text=text, origin="web", place="alt") for text in clean)
    sample = Sample(key="0" * 20, extension="png", media=b"x", captions=captions)
    info = describe(tmp_path / "a.tar", tmp_path, write_shard(tmp_path / "a.tar", [sample]))
    assert next(read_shard(tmp_path, info)) == sample
    schema = layer_schema({"captions": pyarrow.list_(CAPTION_TYPE)})
    row = {"key": sample.key, "captions": [caption.as_dict() for caption in captions]}
    layer = describe(tmp_path / "a.parquet", tmp_path, write_layer(tmp_path / "a.parquet", [row], schema))
    assert [each["text"] for each in read_layer(tmp_path, layer).to_pylist()[0]["captions"]] == clean


def test_they_are_counted_and_compared(clean: list[str]) -> None:
    captions = tuple(Caption(text=text, origin="web") for text in clean)
    image = drawing(0)
    given = AnnotatorInput(key="0" * 20, media="image", image=image, first_image=image, captions=captions)
    for module in (caption_stats, caption_quality):
        (row,) = module.Annotator(module.Config()).annotate([given])
        for name, values in row.items():
            if name.endswith("_frac"):
                assert all(0 <= value <= 1 for value in values), name
    for text in clean:
        assert normalise_caption(normalise_caption(text)) == normalise_caption(text)
        assert all(word and word == word.strip() for word in words_of(text))


def test_they_do_nothing_on_a_page(clean: list[str]) -> None:
    block = data_block(clean)
    assert not set(block) & set("<>&") and block.isascii() and json.loads(block) == clean
    for text in clean:
        shown = str(escape(visible(text)))
        assert shown.isprintable() and not set(shown) & set("<>\"'")
