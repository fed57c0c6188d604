"""How every data stage publishes: a new folder beside the old one, its manifest last, then the two change places."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.shared.documents import write_sealed
from pipelines.shared.files import link_or_copy
from pipelines.shared.folders import new_folder
from pipelines.shared.manifests import Manifest, write_manifest


def publish(
    out: Path, manifest: Manifest, source: Path, documents: Mapping[str, Mapping[str, Any]] | None = None
) -> str:
    """Put a stage's finished files in their place. Until all of them are there, what was published before stays.

    Args:
        out: The stage's folder.
        manifest: Lists the files.
        source: Folder that has them; they are linked from there where the file system allows it.
        documents: Further JSON files by name; each gets its own digest.

    Returns:
        sha256 of the manifest.

    Raises:
        ValueError: Nothing was kept, or a file is missing or has another size than the manifest says.
        OSError: The disk is full or fails; the error names the file.
    """
    counts = manifest.counts
    if not counts.kept:
        lost = sorted({**counts.rejected, **counts.failed}.items(), key=lambda each: -each[1])
        reasons = ", ".join(f"{reason} {count}" for reason, count in lost[:5]) or "nothing came in"
        raise ValueError(f"{manifest.stage} {manifest.instance}: nothing is kept of {counts.num_in}: {reasons}")
    with new_folder(out) as new:
        for info in manifest.files():
            path = source / info.name
            if not path.is_file() or path.stat().st_size != info.num_bytes:
                raise ValueError(f"{path} is not there any more as it was written: run the same command again")
            link_or_copy(path, new / info.name)
        for name, document in (documents or {}).items():
            write_sealed(new / name, document)
        return write_manifest(new, manifest)
