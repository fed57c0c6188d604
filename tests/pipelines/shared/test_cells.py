import datetime
from decimal import Decimal

import numpy as np
import pytest

from pipelines.shared.cells import CellError, cell_texts, cell_url


@pytest.mark.parametrize(
    "value,texts",
    [
        ("a dog", ["a dog"]),
        ("", [""]),
        ("['a', 'b']", ["['a', 'b']"]),
        (None, []),
        (float("nan"), []),
        (np.float32("nan"), []),
        (Decimal("nan"), []),
        ("h\u00fcgel".encode(), ["h\u00fcgel"]),
        (["a", None, "b", float("nan"), b"c"], ["a", "b", "c"]),
        ([], []),
        (2019, ["2019"]),
        (2019.0, ["2019"]),
        (0.5, ["0.5"]),
        (1e300, ["1e+300"]),
        (Decimal("2.50"), ["2.50"]),
    ],
)
def test_texts(value: object, texts: list[str]) -> None:
    assert cell_texts(value) == texts


@pytest.mark.parametrize(
    "value",
    [{"en": "a dog"}, [{"text": "a"}], [["a"]], True, [False], b"caf\xe9", datetime.date(2020, 1, 1), float("inf"), 1j],
)
def test_what_is_no_text_is_refused(value: object) -> None:
    with pytest.raises(CellError, match=r"neither a text nor a list of texts|not UTF-8"):
        cell_texts(value)


def test_a_long_object_is_cut_in_the_message() -> None:
    with pytest.raises(CellError) as caught:
        cell_texts({"x": "y" * 10_000})
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("value", [" http://a.com/ ", b"http://a.com/", ["http://a.com/"], ["", "http://a.com/", None]])
def test_one_address(value: object) -> None:
    assert cell_url(value) == "http://a.com/"


def test_no_address_or_several() -> None:
    assert cell_url(None) == cell_url(float("nan")) == cell_url([]) == cell_url(" ") == ""
    for value in (["http://a.com/1", "http://a.com/2"], 7, 7.5, {"href": "http://a.com/"}):
        with pytest.raises(CellError):
            cell_url(value)
