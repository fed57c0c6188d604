import subprocess
import sys

import pytest

from pipelines.annotators import AnnotatorInput
from pipelines.annotators.language import Annotator, Config, load_identifier
from tests.pipelines.builders import captions, drawing

SHORT = {
    "en": ("a red fox", "two dogs playing in the park", "A view of the old town at night"),
    "de": ("zwei Hunde spielen im Park", "lächelndes Gesicht", "Blick auf die Altstadt bei Nacht"),
    "fr": ("coucher de soleil sur la plage", "un homme à vélo", "Vue de la vieille ville la nuit"),
    "es": ("dos perros jugando en el parque", "puesta de sol en la playa", "cara sonriente"),
    "pl": ("tort weselny z kwiatami", "mężczyzna na rowerze", "Widok na stare miasto nocą"),
    "tr": ("parkta oynayan iki köpek", "çiçekli bir elbise", "gece eski şehirde yürüyen insanlar"),
    "ja": ("公園で遊ぶ二匹の犬", "ビーチの夕日", "夜の旧市街の眺め"),
    "zh": ("两只狗在公园里玩", "骑自行车的男人", "老城区的夜景"),
    "ko": ("공원에서 노는 개 두 마리", "웃는 얼굴", "포도"),
}


def annotate(*texts: str, **settings):
    image = drawing(0)
    sample = AnnotatorInput(key="0" * 20, media="image", image=image, first_image=image, captions=captions(*texts))
    return Annotator(Config(**settings)).annotate([sample])[0]


@pytest.mark.parametrize("language", SHORT)
def test_short_captions(language):
    assert annotate(*SHORT[language])["caption_language"] == [language] * 3


def test_confidence_grows_with_what_there_is_to_see():
    found = annotate("smiling face", "a smiling face with sunglasses and a big hat")
    short, long = found["caption_language_confidence"]
    assert short < 0.5 < 0.9 < long <= 1


def test_without_a_letter_there_is_no_language():
    found = annotate("", "1234 - 55", "🦊🦊")
    assert found == {"caption_language": ["und"] * 3, "caption_language_confidence": [0.0] * 3}


def test_a_choice_of_languages():
    assert annotate("smiling face")["caption_language"] != ["en"]
    assert annotate("smiling face", languages=("de", "en", "fr"))["caption_language"] == ["en"]


def test_hash_seed_and_process_change_nothing():
    code = (
        "from pipelines.annotators.language import load_identifier\n"
        "print([load_identifier(()).classify(text) for text in ('un zorro rojo', 'smiling face', 'grapes')])"
    )
    here = str([load_identifier(()).classify(text) for text in ("un zorro rojo", "smiling face", "grapes")])
    there = subprocess.run([sys.executable, "-c", code], env={"PYTHONHASHSEED": "7"}, capture_output=True, text=True)
    assert there.stdout.strip() == here


def test_an_unknown_language_is_named():
    with pytest.raises(ValueError, match=r"languages: not known are xx; there are: .*, en, "):
        annotate("a", languages=("en", "xx"))


@pytest.mark.parametrize("languages", [("en",), ("en", "en")])
def test_settings_are_checked(languages):
    with pytest.raises(ValueError, match="languages must be two different ones at least, or none"):
        Config(languages=languages)
