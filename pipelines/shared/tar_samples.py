"""Samples in a tar by webdataset's rule: neighbouring members that share all before the dot.

Only pictures, clips and the captions that are asked for count. What belongs to no sample stands aside wherever it is:
folders, other files, and the copies of attributes that macOS writes (`._name`, `__MACOSX/`). Links, devices, sparse
members and names that are no text are counted and not followed.

A tar is refused by name where taking it would put a caption to another picture or lose it silently: a member twice, a
name that is absolute or leads upwards, the members of a sample apart from each other.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import BinaryIO

from pipelines.shared.losses import Losses
from pipelines.shared.tars import Member, TarError, tar_members

MEDIA = ("jpg", "jpeg", "png", "webp", "gif", "mp4")
MAC_FOLDER, MAC_PREFIX, MAC_FILE = "__MACOSX", "._", ".DS_Store"
REASONS = {"link": "link_member", "sparse": "sparse_member", "special": "special_member"}


@dataclass(frozen=True, slots=True)
class TarSample:
    """A sample.

    Attributes:
        key: What its members' names share.
        media: Pictures and clips, in order.
        texts: Members with captions, by extension.
    """

    key: str
    media: list[Member] = field(default_factory=list)
    texts: dict[str, Member] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Part:
    """A member that may be a part of a sample: its name without `.` and empty parts, and that name's two halves."""

    member: Member
    place: str
    key: str
    extension: str


def tar_samples(
    handle: BinaryIO, text_kinds: frozenset[str], losses: Losses, *, by_last_dot: bool = False
) -> Iterator[TarSample]:
    """All samples that have a picture or clip, in order.

    Args:
        handle: The tar.
        text_kinds: Extensions of members with captions.
        losses: What is left out is counted here; samples without a picture or clip as `no_media`.
        by_last_dot: Extensions begin at the last dot of a name, not at the first.

    Raises:
        TarError: It is no whole tar, or has to be refused.
    """
    parts = list(_parts(handle, text_kinds, losses, by_last_dot=by_last_dot))
    with_media = {part.key for part in parts if part.extension in MEDIA}
    for _ in {part.key for part in parts if part.key not in with_media}:
        losses.add("no_media")
    seen: set[str] = set()
    for key, group in groupby((part for part in parts if part.key in with_media), lambda part: part.key):
        if key in seen:
            raise TarError(
                f"members of the sample {key!r} stand apart, so that captions would be lost: write the tar with its "
                "members sorted by name, as `tar --sort=name` does"
            )
        seen.add(key)
        yield _sample(key, list(group))


def split_name(name: str, *, by_last_dot: bool = False) -> tuple[str, str]:
    """What a sample's members share, and the extension in lower case: parted at a dot after the last slash."""
    folder, slash, base = name.rpartition("/")
    place = base.rfind(".") if by_last_dot else base.find(".")
    stem, extension = (base[:place], base[place + 1 :]) if place >= 0 else (base, "")
    return f"{folder}{slash}{stem}", extension.lower()


def _parts(handle: BinaryIO, text_kinds: frozenset[str], losses: Losses, *, by_last_dot: bool) -> Iterator[_Part]:
    dotted: dict[str, str] = {}
    keys: set[str] = set()
    places: set[str] = set()
    for member in tar_members(handle):
        folders, _, base = member.name.rpartition("/")
        if member.kind == "folder":
            continue
        if MAC_FOLDER in folders.split("/") or base.startswith(MAC_PREFIX) or base == MAC_FILE:
            losses.add("mac_member")
            continue
        key, extension = split_name(member.name, by_last_dot=by_last_dot)
        if extension not in MEDIA and extension not in text_kinds:
            if base.rpartition(".")[2].lower() in MEDIA:
                dotted.setdefault(key, member.name)
            continue
        if member.kind != "file":
            losses.add(REASONS[member.kind], repr(member.name))
            continue
        if (place := _checked_place(member)) is None:
            losses.add("name_refused", repr(member.name))
            continue
        if place in places:
            raise TarError(f"member {place!r} stands there twice: which of the two is meant cannot be told")
        places.add(place)
        part = _Part(member, place, *split_name(place, by_last_dot=by_last_dot))
        if extension in MEDIA:
            keys.add(key)
        yield part
    for key, name in dotted.items():
        if key not in keys:
            losses.add("dotted_name", f"{name!r} has no extension after its first dot, see the setting extension_after")


def _checked_place(member: Member) -> str | None:
    """The member's place; None where it cannot be served.

    Raises:
        TarError: The name leads out of the tar.
    """
    if member.name.startswith("/"):
        raise TarError(f"member {member.name!r} has an absolute name: write the tar without `tar -P`")
    if ".." in member.name.split("/"):
        raise TarError(f"member {member.name!r} leads out of the tar")
    return member.place


def _sample(key: str, parts: Sequence[_Part]) -> TarSample:
    sample, kinds = TarSample(key), set()
    for part in parts:
        if part.extension in kinds:
            raise TarError(
                f"the sample {key!r} has two members {part.extension!r}: which of them is meant cannot be told"
            )
        kinds.add(part.extension)
        if part.extension in MEDIA:
            sample.media.append(part.member)
        else:
            sample.texts[part.extension] = part.member
    return sample
