"""Files of weights that others made: none is read before its sha256 was found to be the expected one."""

import hashlib
from pathlib import Path


def require_sha256(path: Path, sha256: str, remedy: str) -> None:
    """Refuses a file that is not the expected one.

    Args:
        path: The file.
        sha256: Its expected digest, hexadecimal.
        remedy: What the user can do about it, for the message.

    Raises:
        ValueError: There is no such file, or its digest is another one.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file; {remedy}")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256.lower():
        raise ValueError(f"{path}: sha256 is {found}, expected {sha256}; {remedy}")
