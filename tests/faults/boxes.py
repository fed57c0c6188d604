"""MP4 files with boxes changed by hand."""

import struct
from collections.abc import Callable

CONTAINERS = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl", b"dinf"})


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def changed(media: bytes, kind: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """The same file with the content of each box of a kind changed, and the sizes of those around it.

    Offsets into `mdat` stay right where it stands before `moov`, as our encoder writes it.
    """
    parts, position = [], 0
    while position < len(media):
        size, name = struct.unpack_from(">I4s", media, position)
        content = media[position + 8 : position + size]
        if name == kind:
            content = change(content)
        elif name in CONTAINERS:
            content = changed(content, kind, change)
        parts.append(box(name, content))
        position += size
    return b"".join(parts)


def with_count(media: bytes, table: bytes, place: int, count: int) -> bytes:
    """The number of entries that a table states is another; `place` is where it stands in the box."""
    return changed(media, table, lambda content: content[:place] + struct.pack(">I", count) + content[place + 4 :])


def with_tracks(media: bytes, count: int) -> bytes:
    """The first track, so many times."""

    def repeat(content: bytes) -> bytes:
        start = content.index(b"trak") - 4
        (size,) = struct.unpack_from(">I", content, start)
        return content[:start] + content[start : start + size] * count + content[start + size :]

    return changed(media, b"moov", repeat)


def with_reference(media: bytes, address: bytes) -> bytes:
    """The samples lie in another file, it says."""
    entry = box(b"url ", bytes(4) + address + b"\x00")
    return changed(media, b"dref", lambda content: struct.pack(">II", 0, 1) + entry)
