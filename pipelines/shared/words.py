"""Words of a caption as Data-Juicer's ratios count them: in lower case, without special characters at their ends.

Source: Chen et al. 2023 (Data-Juicer), arXiv:2309.02033, after Laurencon et al. 2022 (ROOTS), arXiv:2303.03915. Differs
from both: a special character is one that Unicode calls neither a letter nor a mark, where they have a list of
punctuation, digits, spaces and emoji; and languages that put no white space between words are not split.

Marks belong to the letters before them, as in Unicode's rules for words (UAX 29): the vowel signs of Hindi or Tamil,
the points of Hebrew and Arabic, the accents of decomposed Latin. Characters that are not seen (`texts.IGNORABLE`)
belong to no word; the space of no width parts words.
"""

import functools
import itertools
import re
import unicodedata

from pipelines.shared.texts import IGNORABLE

IGNORED = re.compile(f"[{IGNORABLE}]")
NO_WIDTH_SPACE = "\u200b"
FIRST_WITHOUT_MARKS = 0x20000  # but for selectors of variants, which are not seen
DOTTED_I = "i\u0307"  # what lower-casing makes of the capital of Turkish


def seen(text: str) -> str:
    """A text without the characters that are not seen; a space of no width becomes a space."""
    return text if text.isascii() else IGNORED.sub("", text.replace(NO_WIDTH_SPACE, " "))


def words_of(text: str) -> list[str]:
    """Lower-cased runs between white space, without the special characters at their ends; empty ones left out."""
    return [word for run in lowered(seen(text)).split() if (word := strip_special(run))]


def lowered(text: str) -> str:
    """In lower case, the Turkish capital with a dot too: as the plain letter that it stands for."""
    return text.lower().replace(DOTTED_I, "i")


def strip_special(word: str) -> str:
    """A word without the special characters at its start and end."""
    if word.isalpha() and not IGNORED.search(word):  # the most, and much faster
        return word
    left = "".join(itertools.dropwhile(is_special, word))
    return "".join(itertools.dropwhile(is_special, left[::-1]))[::-1]


def is_special(character: str) -> bool:
    """Whether a code point is neither a letter nor a mark on one, or is not seen; what encloses a sign is none."""
    category = unicodedata.category(character)
    return (category[0] != "L" and category not in ("Mn", "Mc")) or IGNORED.match(character) is not None


def alphanumerics(text: str) -> int:
    """How many code points are letters, digits, or marks that belong to one."""
    if text.isascii():
        return sum(map(str.isalnum, text))
    return sum(len(run) for run in alphanumeric_runs().findall(seen(text)))


@functools.cache
def alphanumeric_runs() -> re.Pattern[str]:
    """Runs of letters and digits with their marks."""
    return re.compile(rf"(?:[^\W_][{_marks()}]*)+")


@functools.cache
def spelled_words() -> re.Pattern[str]:
    """Runs of letters, digits, underscores and their marks, with apostrophes and hyphens between them."""
    word = rf"(?:\w[{_marks()}]*)+"
    return re.compile(rf"{word}(?:['\u2019-]{word})*")


@functools.cache
def _marks() -> str:
    """All marks but those that are not seen, as the inside of a character class: `re` has no class of its own."""
    points = [point for point in range(FIRST_WITHOUT_MARKS) if unicodedata.category(chr(point)) in ("Mn", "Mc", "Me")]
    points = [point for point in points if not IGNORED.match(chr(point))]
    starts = [point for point, before in zip(points, [-2, *points], strict=False) if point != before + 1]
    ends = [point for point, after in zip(points, [*points[1:], -2], strict=True) if after != point + 1]
    return "".join(f"{chr(start)}-{chr(end)}" for start, end in zip(starts, ends, strict=True))
