"""Texts from strangers: one normal form for every caption."""

import re
import unicodedata

MAX_CAPTION_CHARS = 2000
# control characters and line separators become spaces; what reverses the reading direction goes, and so do halves of
# surrogate pairs, which no UTF-8 can hold, and byte order marks
SPACES = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029]+")
DROPPED = re.compile("[\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
# Unicode 15's Default_Ignorable_Code_Point: joiners, marks of direction, variation selectors, tags, fillers
IGNORABLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
# besides them what shows nothing: the blank of Braille, marks around annotations, the place of an object that is gone
UNSEEN = re.compile(rf"[\s{IGNORABLE}\u2800\ufff9-\ufffc]+")
# at the ends of a text these stand for nothing; selectors, joiners and tags belong to the character before them
STRIPPED = (
    " \u00ad\u061c\u115f\u1160\u180e\u200b\u200e\u200f\u2060\u2061\u2062\u2063\u2064\u2065\u206a\u206b\u206c\u206d"
    "\u206e\u206f\u2800\u3164\uffa0\ufff9\ufffa\ufffb\ufffc"
)


def clean_text(text: str) -> str:
    """A caption in NFC, on one line, without control characters, at most 2,000 code points; empty if nothing is seen.

    Joiners and variation selectors inside a text stay: emoji, Persian and the scripts of India are spelled with them.
    """
    flat = SPACES.sub(" ", DROPPED.sub("", text.lstrip()[: 4 * MAX_CAPTION_CHARS]))
    clean = unicodedata.normalize("NFC", flat).strip(STRIPPED)[:MAX_CAPTION_CHARS].strip(STRIPPED)
    return "" if UNSEEN.fullmatch(clean) else clean


def utf8_text(text: str) -> str:
    r"""A text that can be written as UTF-8: halves of surrogate pairs as `\ud800`, all else as it is."""
    return text.encode(errors="backslashreplace").decode()
