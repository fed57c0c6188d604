"""Texts in what other programs read as more than text: CSV cells, Markdown table cells, a terminal's lines.

Of CSV the rule is OWASP's (CSV Injection): a spreadsheet takes for a formula what starts with `=`, `+`, `-`, `@`,
a tab or an end of line, also after white space, and also as a full-width, small or raised form of them.
"""

import re
import unicodedata
from typing import Any

FORMULA_STARTS = frozenset("=+-@\N{MINUS SIGN}")
LINE_STARTS = ("\t", "\r", "\n")
UNSEEN = ("Cc", "Cf", "Zs", "Zl", "Zp")
MARKUP = re.compile(r"[\\|`*<>\[\]~&]|(?<!\w)_|_(?!\w)|(?<=:)/(?=/)|(?<=\bwww)\.", re.IGNORECASE)


def csv_cell(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula: such a text gets an apostrophe; numbers stay numbers."""
    if not isinstance(value, str):
        return value
    seen = next((letter for letter in value if unicodedata.category(letter) not in UNSEEN), "")
    is_formula = unicodedata.normalize("NFKC", seen)[:1] in FORMULA_STARTS if seen else False
    starts = is_formula or value.startswith(LINE_STARTS)
    return f"'{value}" if starts else value


def markdown_cell(value: Any) -> str:
    """A cell of a Markdown table that shows a text as it is: no further cell, no markup, no link, no HTML."""
    return MARKUP.sub(lambda found: f"\\{found[0]}", visible(" ".join(str(value).split())))


def visible(text: str) -> str:
    """Text with control and direction characters made visible, so that it disturbs nothing around it."""
    return "".join(letter if letter.isprintable() else f"\\u{ord(letter):04x}" for letter in text)
