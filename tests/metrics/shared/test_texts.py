import torch
from hypothesis import given
from hypothesis import strategies as st

from metrics.shared.texts import pack_texts, unpack_texts


@given(st.lists(st.text()))
def test_round_trip(texts: list[str]) -> None:
    assert unpack_texts(*pack_texts(texts)) == texts


@given(st.lists(st.text()), st.lists(st.text()))
def test_batches_can_be_concatenated(first: list[str], second: list[str]) -> None:
    parts = [pack_texts(first), pack_texts(second)]
    whole = [torch.cat(each) for each in zip(*parts, strict=True)]
    assert unpack_texts(*whole) == first + second


def test_what_the_rows_are() -> None:
    content, lengths = pack_texts(["aé", ""])
    assert content.tolist() == [0x61, 0xC3, 0xA9] and lengths.tolist() == [3, 0]
    assert content.dtype == lengths.dtype == torch.int64
