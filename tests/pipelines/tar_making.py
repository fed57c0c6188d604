"""Tars by hand: headers that no honest program writes, and ordinary ones."""

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

END = bytes(1024)


def header(
    name: bytes, size: bytes | int = 0, kind: bytes = b"0", magic: bytes = b"ustar\x0000", **fields: bytes
) -> bytes:
    """A header block; `size` as a number, or its twelve bytes; `fields` are `prefix` and `tail` (from byte 386 on)."""
    digits = size if isinstance(size, bytes) else b"%011o\0" % size
    block = name[:100].ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2 + digits + b"00000000000\0"
    block += b" " * 8 + kind + bytes(100) + magic + bytes(64 + 16)
    block += fields.get("prefix", b"").ljust(155, b"\0") + bytes(12)
    if tail := fields.get("tail"):
        block = block[:386] + tail.ljust(126, b"\0")
    assert len(block) == 512
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % 512)


def file(name: bytes, content: bytes, **settings: bytes) -> bytes:
    return header(name, len(content), **settings) + padded(content)


def pax(records: dict[str, str | bytes], kind: bytes = b"x") -> bytes:
    content = b""
    for key, value in records.items():
        record = b" " + key.encode() + b"=" + (value if isinstance(value, bytes) else value.encode()) + b"\n"
        length = len(record) + 1
        while len(str(length)) + len(record) != length:
            length += 1
        content += str(length).encode() + record
    return file(b"PaxHeaders/x", content, kind=kind)


def base256(number: int) -> bytes:
    return (number % 2**96 | (1 << 95 if number >= 0 else 0)).to_bytes(12, "big")


def write_tar(path: Path, members: Iterable[tuple[str, bytes]], form: int = tarfile.GNU_FORMAT) -> None:
    """Members in their order, one name any number of times."""
    with tarfile.open(path, "w", format=form, encoding="utf-8", errors="surrogateescape") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
