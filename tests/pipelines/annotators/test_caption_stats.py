import pytest

from pipelines.annotators import AnnotatorInput
from pipelines.annotators.caption_stats import Annotator, Config
from tests.pipelines.builders import captions, drawing


def annotate(*texts: str):
    image = drawing(0)
    given = AnnotatorInput(key="0" * 20, media="image", image=image, first_image=image, captions=captions(*texts))
    return Annotator(Config()).annotate([given])[0]


def test_counts():
    found = annotate("a red  fox", "IMG_2041.jpg", "")
    assert found["num_captions"] == 3
    assert found["caption_words"] == [3, 1, 0]
    assert found["caption_characters"] == [10, 12, 0]
    assert found["caption_alphanumeric_frac"] == pytest.approx([1.0, 10 / 12, 0.0])
    assert found["caption_digits_frac"] == pytest.approx([0.0, 4 / 12, 0.0])


@pytest.mark.parametrize(
    "text,url,email",
    [
        ("see https://a.test/x", True, False),
        ("WWW.example.com", True, False),
        ("write to me@example.com", False, True),
        ("3 @ 4.50", False, False),
        ("plain words", False, False),
        ("a@" * 20_000, False, False),
    ],
)
def test_addresses(text, url, email):
    found = annotate(text)
    assert (found["caption_has_url"], found["caption_has_email"]) == ([url], [email])


def test_letters_of_any_script_are_alphanumeric():
    assert annotate("赤い狐 ё")["caption_alphanumeric_frac"] == [1.0]


@pytest.mark.parametrize(
    "text", ["काला कुत्ता", "ஒரு பூனை", "แมวดำ", "שָׁלוֹם", "قِطَّة", "cafe\u0301", "می\u200cروم", "co\u00adoperate\u200b"]
)
def test_marks_and_what_is_not_seen_are_no_special_characters(text):
    row = annotate(text, "a \u2060 cat")
    assert row["caption_words"][1] == 2
    assert row["caption_alphanumeric_frac"] == [1.0, 1.0]


def test_no_captions():
    assert annotate() == {
        "num_captions": 0,
        **{name: [] for name, kind in Annotator.columns.items() if kind.startswith("list")},
    }
