"""Texts as rows of integers, so that a metric of captions keeps and gathers them like any other evidence."""

from collections.abc import Sequence

import torch
from torch import Tensor


def pack_texts(texts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Texts as UTF-8.

    Returns:
        All bytes one after another, int64 [total], and the number of bytes of each text, int64 [number of texts]; both
        can be cut anywhere between texts and concatenated.
    """
    encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
    lengths = torch.tensor([len(each) for each in encoded], dtype=torch.int64)
    return torch.tensor(list(b"".join(encoded)), dtype=torch.int64), lengths


def unpack_texts(content: Tensor, lengths: Tensor) -> list[str]:
    """The texts that were packed."""
    everything = bytes(content.tolist())
    assert len(everything) == int(lengths.sum()), "bytes and lengths of different texts"
    texts = []
    start = 0
    for length in lengths.tolist():
        texts.append(everything[start : start + length].decode("utf-8", "surrogatepass"))
        start += length
    return texts
