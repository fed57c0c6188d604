"""Perplexity of each caption by a word n-gram model of a given file: how unlike the model's texts its words are.

Sources: back-off models (Katz 1987) in ARPA's text format, as SRILM, KenLM and others write it; as a filter of web
texts Wenzek et al. 2020 (CCNet), arXiv:1911.00359, and Data-Juicer (Chen et al. 2023), arXiv:2309.02033. Perplexity is
that of KenLM: over all words and the end of the text, after its beginning.

Differs from both filters: their models are of SentencePiece's pieces and hundreds of megabytes; here words are
lower-cased runs of letters with their marks, digits, apostrophes and hyphens, as a model of captions or of a newspaper
has them, and the n-grams are held in memory. No model comes with the project: values of two models do not compare.
"""

import gzip
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.annotators import AnnotatorInput
from pipelines.shared.clip_models import SHA256, check_model_settings, require_file
from pipelines.shared.files import digest_file
from pipelines.shared.loading import LoadedOnce
from pipelines.shared.words import lowered, seen, spelled_words

SECTION = re.compile(r"\\(\d+)-grams:")
BEGIN, END, UNKNOWN = "<s>", "</s>", "<unk>"


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Settings.

    Attributes:
        model: Path of an ARPA file, `.arpa` or `.arpa.gz`, with `<s>`, `</s>` and `<unk>`.
        sha256: Digest of that file, 64 hex digits.
        column: Name of the column, so that several models can stand side by side.
    """

    model: str
    sha256: str
    column: str = "caption_perplexity"

    def __post_init__(self) -> None:
        if not self.model.endswith((".arpa", ".arpa.gz")):
            raise ValueError(f"model must be a .arpa or .arpa.gz file, got {self.model}")
        if not SHA256.fullmatch(self.sha256):
            raise ValueError(f"sha256 must be 64 lower-case hex digits, got {self.sha256!r}")
        check_model_settings(self.column, 1, "cpu")


class Annotator:
    """Column: `caption_perplexity` (or as named), per caption, at least 1."""

    batch_size = 1
    reads_pixels = False

    def __init__(self, config: Config) -> None:
        require_file("model", config.model)
        self.config = config
        self.columns = {config.column: "list<float64>"}

    def files(self) -> tuple[Path, ...]:
        """The model."""
        return (Path(self.config.model),)

    def load(self) -> None:
        """Load the model."""
        load_model(self.config.model, self.config.sha256)

    def annotate(self, samples: Sequence[AnnotatorInput]) -> list[dict[str, Any]]:
        """Perplexities of each sample's captions."""
        model = load_model(self.config.model, self.config.sha256)
        return [
            {self.config.column: [model.perplexity(words_of(caption.text)) for caption in sample.captions]}
            for sample in samples
        ]


@dataclass(frozen=True, slots=True)
class BackoffModel:
    """An n-gram model.

    Attributes:
        order: Most words of an n-gram.
        ngrams: Logarithms to base 10 of the probability and of the back-off weight of each n-gram.
    """

    order: int
    ngrams: Mapping[tuple[str, ...], tuple[float, float]]

    def log10_probability(self, word: str, history: Sequence[str]) -> float:
        """Of a word after others, the last of which is the nearest."""
        known = word if (word,) in self.ngrams else UNKNOWN
        context = tuple(history[max(len(history) - self.order + 1, 0) :])
        weight = 0.0
        while (found := self.ngrams.get((*context, known))) is None:
            weight += self.ngrams.get(context, (0.0, 0.0))[1]
            context = context[1:]
        return weight + found[0]

    def perplexity(self, words: Sequence[str]) -> float:
        """Of a text of these words."""
        text = [BEGIN, *(word if (word,) in self.ngrams else UNKNOWN for word in words), END]
        total = sum(self.log10_probability(text[place], text[:place]) for place in range(1, len(text)))
        return float(10 ** (-total / (len(text) - 1)))


@LoadedOnce
def load_model(path: str, sha256: str) -> BackoffModel:
    """The model of an ARPA file; once per process.

    Raises:
        ValueError: The file is not the one of the settings, or is no such model.
    """
    if (found := digest_file(Path(path))) != sha256:
        raise ValueError(f"model: {path} has sha256 {found}, the settings say {sha256}")
    opener = gzip.open if path.endswith(".gz") else open
    try:
        with opener(path, "rt", encoding="utf-8") as lines:
            ngrams = dict(read_ngrams(lines))
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"model: {path} is not an ARPA file: {error}") from error
    if missing := [word for word in (BEGIN, END, UNKNOWN) if (word,) not in ngrams]:
        raise ValueError(f"model: {path} lacks {', '.join(missing)}")
    return BackoffModel(max(map(len, ngrams)), ngrams)


def read_ngrams(lines: Iterable[str]) -> Iterator[tuple[tuple[str, ...], tuple[float, float]]]:
    r"""N-grams of the lines of an ARPA file, with their two logarithms; the second is 0 where there is none.

    Raises:
        ValueError: A line is none of this format, or `\end\` is missing.
    """
    order = 0
    for number, line in enumerate(lines, start=1):
        if match := SECTION.fullmatch(line.strip()):
            order = int(match[1])
        elif line.strip() == "\\end\\":
            return
        elif order and line.strip():
            logarithm, *words = line.split()
            backoff = words.pop() if len(words) == order + 1 else "0"
            values = float(logarithm), float(backoff)
            if len(words) != order or not all(map(math.isfinite, values)) or values[0] > 0:
                raise ValueError(f"line {number} is no {order}-gram")
            yield tuple(words), values
    raise ValueError("it ends without \\end\\")


def words_of(text: str) -> list[str]:
    """The words of a caption, lower-cased."""
    return spelled_words().findall(lowered(seen(text)))
