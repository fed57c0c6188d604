"""In how many images' captions an n-gram occurs, frozen in a file, so that CIDEr-D of different test sets is one scale.

Source: Vedantam et al. 2015, arXiv:1411.5726, eq. 1 (the inverse document frequency, a document being all captions of
an image).

The file is JSON of one n-gram a line, sorted: `{"images_with": {"a dog": 12, ...}, "max_n": 4, "num_images": 500,
"tokenizer": "ptb"}`. n-grams of a single image are left out: an n-gram that was never seen weighs the same, log of the
number of images, as in the published code, which makes the file several times smaller.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metrics.shared.ngrams import MAX_N, count_ngrams, maxima_by
from metrics.shared.ptb import tokenize

TOKENIZER = "ptb"


@dataclass(frozen=True, kw_only=True, slots=True)
class DocumentFrequency:
    """How many images an n-gram occurs with.

    Attributes:
        num_images: Of the captions that it was counted in, at least 2.
        images_with: Number of images by n-gram, words joined by spaces; n-grams of fewer than two are left out.
    """

    num_images: int
    images_with: Mapping[str, int]

    def idf(self, terms: Sequence[str]) -> NDArray[np.float64]:
        """log(images / images with the n-gram) of each n-gram, [number of terms]; one not seen counts as seen once."""
        return idf(np.array([self.images_with.get(term, 1) for term in terms], dtype=np.int64), self.num_images)


def idf(images_with: NDArray[np.int64], num_images: int) -> NDArray[np.float64]:
    """Natural logarithm of the number of images over those with each n-gram, which are taken as at least one."""
    return np.log(num_images) - np.log(np.maximum(images_with, 1))


def build_document_frequency(references_per_image: Iterable[Sequence[str]]) -> DocumentFrequency:
    """Counts the n-grams of captions.

    Args:
        references_per_image: All captions of each image, as they are written.

    Raises:
        ValueError: There are fewer than two images: every n-gram would weigh nothing.
    """
    per_image = [[tokenize(caption) for caption in captions] for captions in references_per_image]
    num_images = len(per_image)
    if num_images < 2:
        raise ValueError(f"a document frequency needs the captions of at least 2 images, got {num_images}")
    owner = np.repeat(np.arange(num_images), [len(captions) for captions in per_image])
    images_with: dict[str, int] = {}
    for terms, counts in count_ngrams([words for captions in per_image for words in captions]):
        found = np.bincount(maxima_by(counts, owner, num_images).indices, minlength=len(terms))
        images_with |= {terms[column]: int(found[column]) for column in np.flatnonzero(found > 1)}
    return DocumentFrequency(num_images=num_images, images_with=images_with)


def write_document_frequency(frequency: DocumentFrequency, path: Path) -> None:
    """Writes the file; equal counts give equal bytes."""
    content = {
        "images_with": dict(frequency.images_with),
        "max_n": MAX_N,
        "num_images": frequency.num_images,
        "tokenizer": TOKENIZER,
    }
    path.write_text(json.dumps(content, indent=0, sort_keys=True) + "\n", encoding="ascii", newline="\n")


def read_document_frequency(path: Path) -> tuple[DocumentFrequency, str]:
    """What a file holds, and its sha256.

    Raises:
        ValueError: There is no such file, or it is none of this kind.
    """
    if not path.is_file():
        raise ValueError(f"document_frequency {path} does not exist")
    content = path.read_bytes()
    try:
        document: Any = json.loads(content)
        wrong = _wrong(document)
    except ValueError as error:
        wrong = f"is not JSON ({error})"
    if wrong:
        raise ValueError(f"document_frequency {path} {wrong}")
    frequency = DocumentFrequency(num_images=document["num_images"], images_with=document["images_with"])
    return frequency, hashlib.sha256(content).hexdigest()


def _wrong(document: Any) -> str:
    """What is wrong with the content of a file; empty for nothing."""
    if not isinstance(document, dict) or set(document) != {"images_with", "max_n", "num_images", "tokenizer"}:
        return "must hold images_with, max_n, num_images and tokenizer"
    if (document["tokenizer"], document["max_n"]) != (TOKENIZER, MAX_N):
        return f"must be of tokenizer {TOKENIZER} and max_n {MAX_N}"
    num_images, images_with = document["num_images"], document["images_with"]
    if type(num_images) is not int or num_images < 2:
        return f"must have a num_images of at least 2, got {num_images!r}"
    if not isinstance(images_with, dict):
        return "must have images_with by n-gram"
    for term, count in images_with.items():
        if type(count) is not int or not 2 <= count <= num_images:
            return f"must have counts in [2, {num_images}], got {count!r} for {term!r}"
    return ""
