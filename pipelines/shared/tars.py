"""A guarded reader of tars that others made: what is in them and where, before a byte of a member is read.

The standard library's `tarfile` follows a negative size backwards for ever (CVE-2025-8194), makes the bytes of a sparse
member up in memory, takes a damaged header for the end, and lets `int()` read sizes. Here every number is bounded by
the file: sizes are neither negative nor longer than what is left, extension headers are short and few, members are at
most a million, and a file counts as whole only with its end mark and nothing behind it.

Formats: POSIX ustar and pax (IEEE 1003.1-2017, pax), GNU's long names and base-256 sizes, and old V7 headers, as the
GNU tar manual describes them. Nothing is extracted, links are not followed, sparse members are named and not filled.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, Literal

BLOCK = 512
CHUNK_BYTES = 1 << 20
MAX_MEMBERS = 1_000_000
MAX_NAME_BYTES = 1 << 16
MAX_PAX_BYTES = 1 << 20
MAX_EXTENSIONS = 16
DIGITS = re.compile(rb"[ \0]*([0-7]*)[ \0]*")
RECORD = re.compile(rb"([0-9]{1,9}) ([^=]+)=")
COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
FILES, DATALESS = (b"0", b"\0", b"7"), (b"1", b"2", b"3", b"4", b"5", b"6")
SPARSE_MARKS = (b"GNU.sparse.", b"SCHILY.realsize")
Kind = Literal["file", "folder", "link", "sparse", "special"]


class TarError(ValueError):
    """A file that is no whole tar, or one that no honest program writes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """A member of a tar.

    Attributes:
        name: As it is written; bytes that are not UTF-8 are half surrogates, as `os.fsdecode` gives them.
        kind: `file`, `folder`, `link` (hard or symbolic), `sparse`, or `special` (device, pipe, anything else).
        offset: Where its bytes start in the tar.
        num_bytes: How many there are.
        is_extended: Whether pax or GNU headers of its own stand before it.
    """

    name: str
    kind: Kind
    offset: int
    num_bytes: int
    is_extended: bool = False

    @property
    def place(self) -> str | None:
        """The name without `.` and empty parts; None for one that is absolute, has `..`, controls or is not UTF-8."""
        parts = [part for part in self.name.split("/") if part not in ("", ".")]
        has_controls = any(letter < " " or letter == "\x7f" for letter in self.name)
        is_refused = not parts or ".." in parts or self.name.startswith("/") or has_controls or not self.is_utf8
        return None if is_refused else "/".join(parts)

    @property
    def is_utf8(self) -> bool:
        """Whether the name is text."""
        return not any("\ud800" <= letter <= "\udfff" for letter in self.name)


@dataclass(slots=True)
class _Extension:
    """What headers before a member say of it."""

    records: dict[bytes, bytes] = field(default_factory=dict)
    count: int = 0

    def add(self, records: dict[bytes, bytes], offset: int) -> None:
        self.records |= records
        self.count += 1
        if self.count > MAX_EXTENSIONS:
            raise TarError(f"more than {MAX_EXTENSIONS} headers before one member at byte {offset}")


def tar_members(handle: BinaryIO) -> Iterator[Member]:
    """All members of a tar, in order, by their headers alone.

    Raises:
        TarError: The file is not a whole tar, or a header breaks a bound; the message says where.
    """
    descriptor = handle.fileno()
    total = os.fstat(descriptor).st_size
    offset, count, extension = 0, 0, _Extension()
    while True:
        block = os.pread(descriptor, BLOCK, offset)
        if offset == 0:
            _check_plain(block)
        if len(block) < BLOCK:
            raise TarError(f"no member and no end mark at byte {offset}")
        if not any(block):
            break
        _check_sum(block, offset)
        kind, size, start = block[156:157], _number(block[124:136], offset), offset + BLOCK
        if kind in (b"x", b"X", b"g", b"L", b"K"):
            content = _extension_bytes(descriptor, start, size, total, kind)
            records = _records(content, kind, offset)
            if kind != b"g":
                extension.add(records, offset)
            elif any(key in (b"path", b"size", b"linkpath") or key.startswith(SPARSE_MARKS) for key in records):
                raise TarError(f"a global header at byte {offset} gives all members one name or size")
            offset = start + _padded(size)
            continue
        member, offset = _member(descriptor, block, extension, offset, total)
        count, extension = count + 1, _Extension()
        if count > MAX_MEMBERS:
            raise TarError(f"more than {MAX_MEMBERS} members")
        yield member
    if extension.count:
        raise TarError(f"the end mark at byte {offset} stands where a member was announced")
    _check_rest(descriptor, offset, total)


def content_of(handle: BinaryIO, member: Member) -> bytes:
    """The bytes of a file among the members of a tar.

    Raises:
        TarError: The tar became shorter since its headers were read.
    """
    assert member.kind == "file", f"{member.name!r} is no file but a {member.kind}"
    content = _read(handle.fileno(), member.offset, member.num_bytes)
    if len(content) != member.num_bytes:
        raise TarError(f"{member.name!r} ends at byte {member.offset + len(content)}")
    return content


def _member(descriptor: int, block: bytes, extension: _Extension, offset: int, total: int) -> tuple[Member, int]:
    """The member of a header, and where the next header is."""
    records, kind = extension.records, block[156:157]
    name = records.get(b"GNU.sparse.name") or records.get(b"path") or _plain_name(block, kind)
    size = _number(block[124:136], offset)
    if stated := records.get(b"size"):
        if not re.fullmatch(rb"[0-9]{1,19}", stated):
            raise TarError(f"the size {stated[:20]!r} at byte {offset} is no number")
        size = int(stated)
    start = offset + BLOCK
    if kind == b"S":
        is_continued = block[482]
        while is_continued:
            further = os.pread(descriptor, BLOCK, start)
            if len(further) < BLOCK:
                raise TarError(f"the map of a sparse member at byte {offset} has no end")
            is_continued, start = further[504], start + BLOCK
    if kind == b"1" and size:
        raise TarError(f"a hard link at byte {offset} has a size of {size}: whether bytes follow cannot be told")
    stored = 0 if kind in DATALESS else size
    if start + stored > total:
        raise TarError(f"a member at byte {offset} has {stored} bytes, {max(total - start, 0)} are left in the file")
    member = Member(
        name=name.decode(errors="surrogateescape"),
        kind=_kind(kind, name, records),
        offset=start,
        num_bytes=stored,
        is_extended=extension.count > 0,
    )
    return member, start + _padded(stored)


def _kind(kind: bytes, name: bytes, records: dict[bytes, bytes]) -> Kind:
    if kind == b"S" or any(key.startswith(SPARSE_MARKS) for key in records):
        return "sparse"
    if kind == b"5" or (kind in FILES and name.endswith(b"/")):
        return "folder"
    if kind in FILES:
        return "file"
    return "link" if kind in (b"1", b"2") else "special"


def _plain_name(block: bytes, kind: bytes) -> bytes:
    """The name in a header: GNU's and old headers have other things where POSIX has its prefix."""
    name, prefix = block[:100].partition(b"\0")[0], block[345:500].partition(b"\0")[0]
    return prefix + b"/" + name if prefix and block[257:263] == b"ustar\0" and kind != b"S" else name


def _extension_bytes(descriptor: int, start: int, size: int, total: int, kind: bytes) -> bytes:
    limit = MAX_NAME_BYTES if kind in (b"L", b"K") else MAX_PAX_BYTES
    if size > limit or start + size > total:
        raise TarError(f"a header of {size} bytes at byte {start - BLOCK}, at most {limit} are read")
    return _read(descriptor, start, size)


def _records(content: bytes, kind: bytes, offset: int) -> dict[bytes, bytes]:
    """The records of a pax header, or what is the same of a GNU one."""
    if kind in (b"L", b"K"):
        return {b"path" if kind == b"L" else b"linkpath": content.partition(b"\0")[0]}
    records, position = {}, 0
    while position < len(content) and content[position] != 0:
        match = RECORD.match(content, position)
        end = position + int(match[1]) if match else 0
        if match is None or not match.end() < end <= len(content) or content[end - 1 : end] != b"\n":
            raise TarError(f"a pax header at byte {offset} is damaged")
        records[match[2]] = content[match.end() : end - 1]
        position = end
    return records


def _check_plain(block: bytes) -> None:
    for magic, name in COMPRESSED.items():
        if block.startswith(magic):
            raise TarError(f"it is compressed with {name}: unpack it first")


def _check_sum(block: bytes, offset: int) -> None:
    stated = _number(block[148:156], offset)
    plain = block[:148] + b" " * 8 + block[156:]
    total = sum(plain)
    # old programs added signed bytes
    if stated != total and stated != total - 256 * sum(byte > 127 for byte in plain):
        raise TarError(f"no member and no end mark at byte {offset}")


def _number(digits: bytes, offset: int) -> int:
    """A number of a header: octal digits, or base 256 after a first byte of 0x80."""
    if digits[0] == 0x80:
        return int.from_bytes(digits[1:], "big")
    match = DIGITS.fullmatch(digits.partition(b"\0")[0])
    if match is None:
        what = "is negative" if digits[0] & 0x80 else "is no number"
        raise TarError(f"a size or checksum at byte {offset} {what}")
    return int(match[1] or b"0", 8)


def _check_rest(descriptor: int, offset: int, total: int) -> None:
    """Raises TarError where anything follows the end mark: of two tars in one file the second would be lost."""
    while offset < total:
        chunk = os.pread(descriptor, CHUNK_BYTES, offset)
        if not chunk:
            return
        if chunk.strip(b"\0"):
            raise TarError(f"something follows the end mark at byte {offset}: are these several tars in one file?")
        offset += len(chunk)


def _read(descriptor: int, offset: int, size: int) -> bytes:
    chunks = []
    while size > 0 and (chunk := os.pread(descriptor, size, offset)):
        chunks.append(chunk)
        offset, size = offset + len(chunk), size - len(chunk)
    return b"".join(chunks)


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK
