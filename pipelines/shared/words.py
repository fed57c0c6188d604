"""Words of a caption as Data-Juicer's ratios count them: in lower case, without special characters at their ends.

Source: Chen et al. 2023 (Data-Juicer), arXiv:2309.02033, after Laurencon et al. 2022 (ROOTS), arXiv:2303.03915. Differs
from both: a special character is one that Unicode calls neither a letter nor a mark, where they have a list of
punctuation, digits, spaces and emoji; and languages that put no white space between words are not split.
"""

import itertools
import unicodedata


def words_of(text: str) -> list[str]:
    """Lower-cased runs between white space, without the special characters at their ends; empty ones left out."""
    return [word for run in text.lower().split() if (word := strip_special(run))]


def strip_special(word: str) -> str:
    """A word without the special characters at its start and end."""
    if word.isalpha():  # the most, and much faster
        return word
    left = "".join(itertools.dropwhile(is_special, word))
    return "".join(itertools.dropwhile(is_special, left[::-1]))[::-1]


def is_special(character: str) -> bool:
    """Whether a code point is neither a letter nor a mark."""
    return unicodedata.category(character)[0] not in "LM"
