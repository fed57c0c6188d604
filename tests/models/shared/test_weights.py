"""Only the expected file passes."""

import hashlib
from pathlib import Path

import pytest

from models.shared.weights import require_sha256


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
