"""The language of each caption with a confidence, by py3langid: naive Bayes over byte n-grams, model in the package.

Source: Lui and Baldwin 2012, "langid.py: an off-the-shelf language identification tool", in its maintained fork
py3langid (BSD-3-Clause). Chosen for its size (5 MB) and speed, and because it draws nothing: equal texts have equal
answers. Differs from DataComp's filter, which uses fastText's lid.176, whose model comes in no package.

Short captions are what it is weak at. On 112 captions of one to seven words in 14 languages it named the right one for
98, of several words 77 of 84 and of one word 21 of 28 (lingua-language-detector: 81 and 22, with 200 times the memory);
all its errors had a confidence below 0.7, and 51 of its right answers one of 0.8 or more. What it confuses are near
relatives (Russian, Bulgarian and Macedonian; Chinese and Japanese without kana) and single words of Latin letters.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pipelines.annotators import AnnotatorInput
from pipelines.shared.extras import needing, packaged_path

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

UNKNOWN = "und"


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Settings.

    Attributes:
        languages: ISO 639 codes that a caption can be in, at least two; all that the model knows when empty.
    """

    languages: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(set(self.languages)) == 1 or len(set(self.languages)) < len(self.languages):
            raise ValueError(f"languages must be two different ones at least, or none, got {list(self.languages)}")


class Annotator:
    """Per caption.

    Columns: `caption_language` (ISO 639 code; `und` for a caption without a letter), `caption_language_confidence` (the
    model's probability of that language, in [0, 1]; 0 for `und`).
    """

    columns: ClassVar[dict[str, str]] = {
        "caption_language": "list<string>",
        "caption_language_confidence": "list<float64>",
    }
    batch_size = 1

    def __init__(self, config: Config) -> None:
        packaged_path("py3langid", "data/model.npz.xz", "language")
        self.config = config

    def annotate(self, samples: Sequence[AnnotatorInput]) -> list[dict[str, Any]]:
        """Languages of each sample's captions."""
        rows = []
        for sample in samples:
            answers = [self._identify(caption.text) for caption in sample.captions]
            rows.append(
                {
                    "caption_language": [language for language, _ in answers],
                    "caption_language_confidence": [confidence for _, confidence in answers],
                }
            )
        return rows

    def _identify(self, text: str) -> tuple[str, float]:
        if not any(map(str.isalpha, text)):
            return UNKNOWN, 0.0
        language, confidence = load_identifier(self.config.languages).classify(text)
        return str(language), round(float(confidence), 6)


@functools.cache
def load_identifier(languages: tuple[str, ...]) -> "LanguageIdentifier":
    """The identifier; once per process and set of languages.

    Raises:
        ValueError: py3langid is not installed, or does not know one of the languages.
    """
    with needing("language"):
        from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    known = set(identifier.nb_classes)
    if unknown := sorted(set(languages) - known):
        raise ValueError(f"languages: not known are {', '.join(unknown)}; there are: {', '.join(sorted(known))}")
    if languages:
        identifier.set_languages(list(languages))
    return identifier
