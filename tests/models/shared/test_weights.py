"""Only the expected file passes, and only with numbers in it."""

import hashlib
from pathlib import Path

import pytest
import torch

from models.shared.weights import read_safetensors, require_finite, require_sha256
from tests.models.weight_files import ATTACKS, write_attack


def test_the_expected_file_passes_and_others_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    with pytest.raises(ValueError, match=r"model\.safetensors: no such file; fetch it"):
        require_sha256(path, "0" * 64, "fetch it")
    path.write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()
    require_sha256(path, digest, "fetch it")
    require_sha256(path, digest.upper(), "fetch it")
    path.write_bytes(b"other weights")
    with pytest.raises(ValueError, match=f"sha256 is .*, expected {digest}; fetch it"):
        require_sha256(path, digest, "fetch it")


@pytest.mark.parametrize("kind", ATTACKS)
def test_files_that_must_not_be_used_are_refused_by_name(tmp_path: Path, kind: str) -> None:
    path, witness = tmp_path / "model.safetensors", tmp_path / "witness"
    write_attack(kind, path, witness)
    with pytest.raises(ValueError, match=r"model\.safetensors") as caught:
        read_safetensors(path)
    assert not witness.exists(), "no code in a file runs"
    if kind in ("nan", "infinite"):
        assert "model.safetensors: weight holds NaN or infinite values" in str(caught.value)
    else:
        assert "is not a safetensors file that can be read" in str(caught.value)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_a_single_number_that_is_none_is_found(dtype: torch.dtype) -> None:
    weights = {"whole": torch.arange(3), "good": torch.ones(4, dtype=dtype)}
    require_finite(weights, "here")
    for bad in ("nan", "inf", "-inf"):
        weights["bad"] = torch.ones(2, 3, dtype=dtype)
        weights["bad"][1, 2] = float(bad)
        with pytest.raises(ValueError, match="here: bad holds NaN or infinite values"):
            require_finite(weights, "here")
