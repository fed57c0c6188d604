"""The feature store computes once per identity."""

import hashlib
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


def test_rows_are_computed_once_each(tmp_path: Path) -> None:
    asked: list[list[str]] = []

    def rows(names: str, store: FeatureStore, identity: str = "x") -> list[float]:
        def compute(places: list[int]) -> torch.Tensor:
            asked.append([names[place] for place in places])
            return torch.tensor([[float(ord(names[place]))] for place in places])

        digests = [hashlib.sha256(name.encode()).hexdigest() for name in names]
        return store.rows((identity,), digests, compute).flatten().tolist()

    store = FeatureStore(tmp_path)
    assert rows("abc", store) == [97, 98, 99]
    assert rows("cdaac", FeatureStore(tmp_path)) == [99, 100, 97, 97, 99]
    assert rows("bd", store) == [98, 100]
    assert rows("ab", store, "other") == [97, 98]
    assert asked == [["a", "b", "c"], ["d"], ["a", "b"]]
    next(tmp_path.rglob("*.safetensors")).write_bytes(b"cut off")
    next(path for path in tmp_path.rglob("*.safetensors") if path.read_bytes() != b"cut off").write_bytes(b"")
    assert rows("da", store) == [100, 97]
