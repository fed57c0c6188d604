"""A finished folder copied to another file system, so that whoever reads it there never sees a part of it as a whole.

Files that name others (`manifest.json`, a run's `config.json`, a report's `index.html`) are entry points: they are sent
last, and one that is there from an earlier export and differs is removed before anything else changes. Every object is
read back and compared by its sha256; what is there already with the same bytes is not sent again, so that an export
that was interrupted goes on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pipelines.shared.files import digest_file
from pipelines.shared.manifests import MANIFEST, read_manifest
from pipelines.shared.runs import CONFIG_FILE
from pipelines.shared.storage import RemoteFolder, in_parallel

ENTRY_POINTS = (MANIFEST, CONFIG_FILE, "index.html")


@dataclass(frozen=True, kw_only=True, slots=True)
class Exported:
    """What an export has done; all files are at their place and compared.

    Attributes:
        num_sent: Files that were sent.
        num_kept: Files that were there.
        num_bytes: Of all of them.
    """

    num_sent: int
    num_kept: int
    num_bytes: int


def export(folder: Path, url: str) -> Exported:
    """Copy all files of a folder; hidden ones, which are not finished, are left out. Other objects there stay.

    Args:
        folder: The folder. Where it, or a folder in it, has a manifest, the files must be those that it lists.
        url: The folder that it becomes.

    Raises:
        ValueError: There is nothing to copy, a file is not as its manifest says, or the other file system fails.
    """
    remote = RemoteFolder(url)
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    names = [path.relative_to(folder).as_posix() for path in paths]
    names = [name for name in names if not any(part.startswith(".") for part in name.split("/"))]
    if not names:
        raise ValueError(f"{folder} is not a folder with files")
    found = in_parallel(lambda name: digest_file(folder / name), names, f"hash {folder}")
    digests = dict(zip(names, found, strict=True))
    check_manifests(folder, digests)
    entries = [name for name in names if PurePosixPath(name).name in ENTRY_POINTS]
    there = {name: int(facts["size"]) for name, facts in remote.listed().items()}
    for name in entries:
        if name in there and remote.digest(name) != digests[name]:
            remote.remove(name)
            del there[name]

    def send(name: str) -> bool:
        return _sent(remote, folder / name, name, digests[name], there.get(name))

    sent = in_parallel(send, [name for name in names if name not in entries], f"export {folder}")
    sent += [send(name) for name in sorted(entries, key=lambda name: (-name.count("/"), name))]
    num_bytes = sum((folder / name).stat().st_size for name in names)
    return Exported(num_sent=sum(sent), num_kept=len(sent) - sum(sent), num_bytes=num_bytes)


def check_manifests(folder: Path, digests: Mapping[str, str]) -> None:
    """Compare the digests of a folder's files with all manifests in it.

    Raises:
        ValueError: A listed file is missing or another one.
    """
    for name in digests:
        home = PurePosixPath(name).parent
        listed: Sequence[tuple[str, str]] = ()
        if PurePosixPath(name).name == MANIFEST:
            listed = [((home / info.name).as_posix(), info.sha256) for info in read_manifest(folder / home).files()]
        for other, sha256 in listed:
            if digests.get(other) != sha256:
                raise ValueError(f"{folder / other} is not the file that {folder / name} lists: run that stage again")


def _sent(remote: RemoteFolder, path: Path, name: str, sha256: str, num_bytes_there: int | None) -> bool:
    """Whether a file had to be sent; it is there, and compared, either way."""
    if num_bytes_there == path.stat().st_size and remote.digest(name) == sha256:
        return False
    remote.upload(path, name)
    if (found := remote.digest(name)) != sha256:
        raise ValueError(f"{remote.place(name)} has sha256 {found} after it was sent, expected {sha256}: export again")
    return True
