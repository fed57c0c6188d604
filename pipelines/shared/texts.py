"""Texts from strangers: one normal form for every caption."""

import re
import unicodedata

MAX_CAPTION_CHARS = 2000
# control characters and line separators become spaces; what reverses the reading direction goes, and so do halves of
# surrogate pairs, which no UTF-8 can hold, and byte order marks
SPACES = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029]+")
DROPPED = re.compile("[\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def clean_text(text: str) -> str:
    """A caption in NFC, on one line, without control characters, at most 2,000 code points."""
    flat = SPACES.sub(" ", DROPPED.sub("", text[: 4 * MAX_CAPTION_CHARS]))
    return unicodedata.normalize("NFC", flat).strip()[:MAX_CAPTION_CHARS].strip()
