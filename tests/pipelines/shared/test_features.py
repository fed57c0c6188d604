"""The feature store computes once per identity."""

from pathlib import Path

import torch

from pipelines.shared.features import FeatureStore


def test_computes_once_and_tells_identities_apart(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    calls: list[str] = []

    def compute(name: str, value: float) -> torch.Tensor:
        calls.append(name)
        return torch.full((2, 3), value)

    first = store.get(("image", "abc", 1), lambda: compute("first", 1.0))
    again = FeatureStore(tmp_path).get(("image", "abc", 1), lambda: compute("again", 2.0))
    other = store.get(("image", "abc", 2), lambda: compute("other", 3.0))
    assert calls == ["first", "other"]
    assert torch.equal(first, again)
    assert other[0, 0] == 3


def test_a_damaged_entry_is_computed_again(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    store.get(("x",), lambda: torch.ones(4))
    next(tmp_path.rglob("*.safetensors")).write_bytes(b"cut off")
    assert torch.equal(store.get(("x",), lambda: torch.zeros(4)), torch.zeros(4))
