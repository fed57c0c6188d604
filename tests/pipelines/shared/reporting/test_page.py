"""Escaping of the pages; the whole pages are tested with the stage."""

import json

import pytest

from pipelines.shared.reporting.page import breakable, data_block
from tests.pipelines.shared.reporting.world import HOSTILE


@pytest.mark.parametrize("text", [HOSTILE, "</script>", "<!--<script>", "]]>", "a & b", "\u2028"])
def test_a_data_block_cannot_end_its_element(text: str) -> None:
    block = data_block({"name": text})
    assert not set("<>&") & set(block) and block.isprintable()
    assert json.loads(block) == {"name": text}, "and says the same"


def test_names_break_after_underscores_and_stay_escaped() -> None:
    assert str(breakable("text_to_image")) == "text_<wbr>to_<wbr>image"
    assert str(breakable("_a__b")) == "_<wbr>a__<wbr>b"
    assert "<img" not in str(breakable("<img_x>"))
