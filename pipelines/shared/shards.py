"""WebDataset tar shards, written so that equal samples give equal bytes and read so that nothing is lost silently.

The format is webdataset's, and the bytes are those of its `TarWriter`; written by the standard library's `tarfile` and
read by `tars`, because importing webdataset imports torch (3 CPU seconds and 600 MB in every worker), and because its
iterator leaves out links, folders and `__meta__` members without a word. A shard is a local file whose sha256 and count
are known from its manifest and checked before the first sample.
"""

import json
import re
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pipelines.shared.files import atomic_path, canonical_json, digest_file
from pipelines.shared.records import EXTENSIONS, KEY, MEDIA_EXTENSIONS, Caption, Sample
from pipelines.shared.tars import TarError, content_of, tar_members

MENDS = "run the stage that writes its folder again, or get it back with `dvc checkout`; `vignette verify` finds others"
MEMBER = re.compile(rf"(?P<key>{KEY.pattern})\.(?P<extension>{'|'.join(EXTENSIONS)})")


@dataclass(frozen=True, kw_only=True, slots=True)
class FileInfo:
    """A published file, as its manifest lists it.

    Attributes:
        name: Path relative to the manifest, with forward slashes.
        num_samples: Samples (shard) or rows (layer) in it.
        num_bytes: Its size.
        sha256: Digest of its bytes.
    """

    name: str
    num_samples: int
    num_bytes: int
    sha256: str

    def as_dict(self) -> dict[str, str | int]:
        """Plain values, ready for JSON."""
        return asdict(self)

    def inside(self, folder: Path) -> "FileInfo":
        """The same file, named from where the path of its manifest's folder starts."""
        return replace(self, name=(folder / self.name).as_posix())

    def check(self, folder: Path) -> Path:
        """The file's path, after its size and sha256 have been compared.

        Raises:
            ValueError: The file is missing or is not the one that the manifest names.
        """
        path = folder / self.name
        if not path.is_file():
            raise ValueError(f"{path} is listed in its manifest but missing; {MENDS}")
        if path.stat().st_size != self.num_bytes or digest_file(path) != self.sha256:
            raise ValueError(f"{path} is not the file that its manifest lists: size or sha256 differ; {MENDS}")
        return path


def describe(path: Path, folder: Path, num_samples: int) -> FileInfo:
    """What a manifest says of a finished file."""
    return FileInfo(
        name=path.relative_to(folder).as_posix(),
        num_samples=num_samples,
        num_bytes=path.stat().st_size,
        sha256=digest_file(path),
    )


def write_shard(path: Path, samples: Iterable[Sample]) -> int:
    """Write a shard atomically: members sorted, mtime 0, plain ustar headers.

    Args:
        path: Where the tar goes.
        samples: Samples in increasing order of their keys.

    Returns:
        How many samples were written.

    Raises:
        ValueError: Keys are not strictly increasing.
    """
    count, previous = 0, ""
    with atomic_path(path) as temporary, temporary.open("wb") as handle:
        for sample in samples:
            if sample.key <= previous:
                raise ValueError(f"keys of a shard must increase: {sample.key} after {previous or 'none'}")
            for extension, content in sorted(_members(sample).items()):
                handle.write(_header(f"{sample.key}.{extension}", len(content)))
                handle.write(content + bytes(-len(content) % tarfile.BLOCKSIZE))
            count, previous = count + 1, sample.key
        handle.write(bytes(2 * tarfile.BLOCKSIZE))
        handle.write(bytes(-handle.tell() % tarfile.RECORDSIZE))
    return count


def check_storable(sample: Sample) -> None:
    """Raise what `write_shard` would raise of the sample alone, such as of half a surrogate pair in a caption."""
    _members(sample)
    _header(f"{sample.key}.{sample.extension}", len(sample.media))


def read_shard(folder: Path, info: FileInfo) -> Iterator[Sample]:
    """All samples of a shard, in order, after its sha256 has been checked.

    Raises:
        ValueError: The file is not the listed one, a member's name is not allowed, a sample lacks a member, keys do not
            increase, or the count differs.
    """
    path = info.check(folder)
    count, previous = 0, ""
    for key, members in _grouped(path):
        sample = _sample(key, members, path)
        if sample.key <= previous:
            raise ValueError(f"{path}: keys must increase: {sample.key} after {previous}")
        count, previous = count + 1, sample.key
        yield sample
    if count != info.num_samples:
        raise ValueError(f"{path} has {count} samples, its manifest lists {info.num_samples}")


def _header(name: str, num_bytes: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.mode = num_bytes, 0o444
    return member.tobuf(tarfile.USTAR_FORMAT)


def _members(sample: Sample) -> dict[str, bytes]:
    """Contents of a sample's members, by extension."""
    document = {**sample.facts, "captions": [caption.as_dict() for caption in sample.captions]}
    return {
        sample.extension: sample.media,
        "txt": (sample.captions[0].text if sample.captions else "").encode(),
        "json": canonical_json(document).encode(),
    }


def _grouped(path: Path) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Keys and members of a tar, grouped where they are neighbours."""
    group: dict[str, bytes] = {}
    key = ""
    for match, content in _read_members(path):
        if match["key"] != key and group:
            yield key, group
            group = {}
        key = match["key"]
        if match["extension"] in group:
            raise ValueError(f"{path}: member {match.string!r} stands there twice")
        group[match["extension"]] = content
    if group:
        yield key, group


def _read_members(path: Path) -> Iterator[tuple[re.Match[str], bytes]]:
    """All members of a tar: their checked names and their contents."""
    try:
        with path.open("rb") as handle:
            for member in tar_members(handle):
                match = MEMBER.fullmatch(member.name)
                if match is None or member.kind != "file" or member.is_extended:
                    allowed = f"a plain file <20 hex digits>.<{'|'.join(EXTENSIONS)}>"
                    raise ValueError(f"{path}: member {member.name!r} is not {allowed}")
                yield match, content_of(handle, member)
    except TarError as error:
        raise ValueError(f"{path} is not a whole tar file: {error}") from error


def _sample(key: str, members: dict[str, bytes], path: Path) -> Sample:
    media = [name for name in MEDIA_EXTENSIONS if name in members]
    if len(media) != 1 or not {"txt", "json"} <= members.keys():
        raise ValueError(f"{path}: sample {key} must have one picture or clip, a txt and a json member")
    try:
        facts = json.loads(members["json"])
        captions = tuple(Caption(**caption) for caption in facts.pop("captions"))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: {key}.json is not a sample's: {type(error).__name__}: {error}") from error
    return Sample(key=key, extension=media[0], media=members[media[0]], captions=captions, facts=facts)
