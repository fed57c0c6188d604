"""What a cell of a list says, whatever type the list gave it: the captions in it, or the address."""

import math
from decimal import Decimal
from numbers import Integral, Real
from typing import Any

MAX_WHOLE = 10**15


class CellError(ValueError):
    """A cell that is neither a text nor a list of texts."""


def cell_texts(value: Any) -> list[str]:
    """The texts in a cell.

    A text is one, and each entry of a list is one; null and NaN are none; bytes are UTF-8; a number is what it is
    written as, a whole one without a fraction (`2019`, for a column with gaps has it as 2019.0). Nothing is spelled by
    Python's rules: truth values, objects, dates and lists in lists are refused.

    Raises:
        CellError: It is of another type, or its bytes are not UTF-8.
    """
    if isinstance(value, list | tuple):
        return [text for each in value for text in _texts_of_one(each)]
    return _texts_of_one(value)


def cell_url(value: Any) -> str:
    """The one address in a cell, without white space at its ends; empty for none.

    Raises:
        CellError: There are several, or as `cell_texts`.
    """
    if isinstance(value, Real | Decimal) and not math.isnan(value):
        raise CellError(f"a number is no address: {value!r:.80}")
    found = [text for each in cell_texts(value) if (text := each.strip())]
    if len(found) > 1:
        raise CellError(f"{len(found)} addresses in one row")
    return found[0] if found else ""


def _texts_of_one(value: Any) -> list[str]:
    if value is None:
        return []
    if isinstance(value, str):
        return [value]
    if isinstance(value, bytes):
        try:
            return [value.decode()]
        except UnicodeDecodeError as error:
            raise CellError(f"bytes that are not UTF-8: {error}") from None
    if isinstance(value, bool):
        raise CellError(f"neither a text nor a list of texts: {value}")
    if isinstance(value, Integral):
        return [str(int(value))]
    if isinstance(value, Real | Decimal):
        number = value if isinstance(value, Decimal) else float(value)
        if math.isnan(number):
            return []
        if math.isfinite(number):
            is_whole = number == int(number) and -MAX_WHOLE < number < MAX_WHOLE
            return [str(int(number)) if is_whole else str(number)]
    raise CellError(f"neither a text nor a list of texts: {value!r:.80}")
